/** The answers of the fake registry to requests for manifests and blobs that it has. */

import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { type Answer, type Body, bytesBody, paddedBody, type Refusal, rangedAnswer } from './answer.ts';
import type { ContentRangeLie, DefectPicker, Defects, ForBlob, ForManifest, Huge } from './defects.ts';
import { type BuiltManifest, MEDIA_TYPES } from './image.ts';

/** Types that a registry gives only to clients that name them, as CNCF distribution does. */
const NEGOTIATED_TYPES: ReadonlySet<string> = new Set([
  MEDIA_TYPES.oci.index,
  MEDIA_TYPES.oci.manifest,
  MEDIA_TYPES.docker.index,
  MEDIA_TYPES.docker.manifest,
]);

/**
 * @param request what is asked for
 * @param reference the tag or digest in its path
 * @param manifest what the registry has there
 */
export function answerManifest(
  request: IncomingMessage,
  reference: string,
  manifest: BuiltManifest,
  defects: Defects,
  picker: DefectPicker,
): Answer | Refusal {
  const contentType =
    defects.manifestContentType === undefined ? manifest.mediaType : defects.manifestContentType;
  if (!accepts(request, manifest.mediaType)) {
    return {
      status: 404,
      code: 'MANIFEST_UNKNOWN',
      message: `manifest is ${manifest.mediaType}, but the Accept header does not name it`,
    };
  }
  const here = (one: ForManifest): boolean => one.reference === undefined || one.reference === reference;
  const forged = picker.pick(
    defects.wrongManifestDigest,
    (one) => here(one) && (one.reference !== undefined || reference.includes(':')),
  );
  const bytes = forged ? (forged.bytes ?? forge(manifest.bytes)) : manifest.bytes;
  const isHead = request.method === 'HEAD';
  return {
    status: 200,
    headers: {
      ...(contentType === null ? {} : { 'Content-Type': contentType }),
      ...digestHeader(defects, manifest.digest),
    },
    ...hugeBody(bytes, defects.hugeManifest),
    cutAfter: isHead ? undefined : picker.pick(defects.truncateManifest, here)?.afterBytes,
  };
}

/**
 * @param request what is asked for
 * @param digest of the blob
 * @param bytes the blob
 * @param isConfig whether it is the config of some image
 */
export function answerBlob(
  request: IncomingMessage,
  digest: string,
  bytes: Buffer,
  isConfig: boolean,
  defects: Defects,
  picker: DefectPicker,
): Answer {
  const headers = { 'Content-Type': 'application/octet-stream', ...digestHeader(defects, digest) };
  if (request.method === 'HEAD') {
    return rangedAnswer(request, bytesBody(bytes), headers);
  }
  const here = (one: ForBlob): boolean => one.digest === undefined || one.digest === digest;
  const right = picker.pick(defects.wrongBlobDigest, here) ? flip(bytes) : bytes;
  const resized = picker.pick(defects.wrongBlobSize, here);
  const { body, contentLength: hugeLength } = hugeBody(
    resized ? resize(right, resized.by) : right,
    isConfig ? defects.hugeConfig : undefined,
  );
  const answer = defects.noRange
    ? { status: 200, headers, body }
    : misrange(rangedAnswer(request, body, headers), defects.wrongContentRange);
  const lengths = { actual: hugeLength, none: 'none', descriptor: bytes.length } as const;
  return {
    ...answer,
    contentLength: answer.status === 200 ? lengths[resized?.contentLength ?? 'actual'] : undefined,
    holdAfter: picker.pick(defects.stallBlob, here)?.afterBytes,
    cutAfter: picker.pick(defects.truncateBlob, here)?.afterBytes,
  };
}

function accepts(request: IncomingMessage, mediaType: string): boolean {
  const accept = request.headers.accept;
  return (
    accept === undefined ||
    !NEGOTIATED_TYPES.has(mediaType) ||
    accept
      .split(',')
      .some((range) => [mediaType, '*/*', 'application/*'].includes(range.split(';')[0]?.trim() ?? ''))
  );
}

function digestHeader(defects: Defects, digest: string): OutgoingHttpHeaders {
  const lie = defects.wrongHeaderDigest;
  if (lie === null) {
    return {};
  }
  return { 'Docker-Content-Digest': lie === true ? `sha256:${'0'.repeat(64)}` : (lie ?? digest) };
}

function hugeBody(bytes: Buffer, huge: Huge | undefined): { body: Body; contentLength: 'none' | undefined } {
  return {
    body: paddedBody(bytes, huge?.bytes ?? 0, ''),
    contentLength: huge?.contentLength === false ? 'none' : undefined,
  };
}

/** JSON of the same length, in which the last digit of the last digest is another one. */
function forge(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1');
  const position = text.lastIndexOf('sha256:') + 'sha256:'.length + 63;
  const forged = Buffer.from(bytes);
  forged.write(text[position] === '0' ? '1' : '0', position, 'latin1');
  return forged;
}

function flip(bytes: Buffer): Buffer {
  const flipped = Buffer.from(bytes);
  const middle = Math.floor(bytes.length / 2);
  flipped[middle] = (flipped[middle] ?? 0) ^ 0xff;
  return flipped;
}

function resize(bytes: Buffer, by: number): Buffer {
  return by > 0
    ? Buffer.concat([bytes, Buffer.alloc(by)])
    : bytes.subarray(0, Math.max(bytes.length + by, 0));
}

function misrange(answer: Answer, lie: ContentRangeLie | undefined): Answer {
  if (answer.status !== 206 || lie === undefined) {
    return answer;
  }
  const { start = 0, end = 0, body } = answer;
  const size = body?.size ?? 0;
  const { 'Content-Range': _, ...headers } = answer.headers ?? {};
  const withRange = (contentRange: string): Answer => ({
    ...answer,
    headers: { ...headers, 'Content-Range': contentRange },
  });
  switch (lie) {
    case 'fromZero':
      return { ...withRange(`bytes 0-${end - start - 1}/${size}`), start: 0, end: end - start };
    case 'shifted':
      return withRange(`bytes ${start + 1}-${end}/${size}`);
    case 'otherSize':
      return withRange(`bytes ${start}-${end - 1}/${size + 1}`);
    case 'missing':
      return { ...answer, headers };
    case 'malformed':
      return withRange('bytes from here to there');
  }
}
