/**
 * Object storage that a registry redirects to: it knows a signature, and wants no credentials beside it.
 */

import type { IncomingMessage } from 'node:http';
import { type Answer, bytesBody, HeldAnswers, rangedAnswer, sendAnswer } from './answer.ts';
import type { ScriptedHandler } from './scripted-server.ts';

/** Stands in every signed URL: text to look for where no secret may be. */
export const URL_SIGNATURE = 'fake-url-signature-5f2b';

/** The query of every signed URL. */
export const SIGNED_QUERY = `X-Amz-Signature=${URL_SIGNATURE}&sig=${URL_SIGNATURE}`;

/**
 * Answer `GET /signed/{digest}?…` as object storage does: 403 without the signature, 400 when `Authorization` is
 * sent too ("Only one auth mechanism allowed"), 404 for other digests; with ranges.
 *
 * @param blobs what there is, by digest
 * @returns a handler for `startScriptedServer`
 */
export function serveSignedBlobs(blobs: ReadonlyMap<string, Buffer>): ScriptedHandler {
  const held = new HeldAnswers();
  return (request, response) => sendAnswer(request, response, answerSigned(request, blobs), held);
}

/** @returns the digest that a signed URL asks for; `undefined` when it is no such URL or the signature is missing */
export function signedDigest(request: IncomingMessage): string | undefined {
  const url = new URL(request.url ?? '/', 'http://storage.invalid');
  const digest = /^\/signed\/([^/]+)$/.exec(decodeURIComponent(url.pathname))?.[1];
  return url.searchParams.get('sig') === URL_SIGNATURE ? digest : undefined;
}

function answerSigned(request: IncomingMessage, blobs: ReadonlyMap<string, Buffer>): Answer {
  const digest = signedDigest(request);
  if (digest === undefined) {
    return refuse(403, 'AccessDenied');
  }
  if (request.headers.authorization !== undefined) {
    return refuse(400, 'InvalidArgument: Only one auth mechanism allowed');
  }
  const bytes = blobs.get(digest);
  return bytes
    ? rangedAnswer(request, bytesBody(bytes), { 'Content-Type': 'application/octet-stream' })
    : refuse(404, 'NoSuchKey');
}

function refuse(status: number, message: string): Answer {
  return {
    status,
    headers: { 'Content-Type': 'application/xml' },
    body: bytesBody(`<Error><Message>${message}</Message></Error>`),
  };
}
