import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import type { RequestContext } from '../request-context.ts';
import { refuseCredentials } from '../routing/path.ts';
import type { BundleRoute, WrittenImage } from '../routing/route.ts';

/** Largest body of a POST, in bytes: the most references, each as long as it can be. */
const MAX_BODY_BYTES = 32 * 1024;

/**
 * The images of a bundle: those in the query and, of a POST, one on each line of the body. Empty lines, and text behind `#`, are
 * ignored.
 *
 *     line ::= reference [ " since=" base ]
 *
 * @throws PassthroughError `INVALID_REFERENCE` for a body that is too long, is not text, or contains a password; `ABORTED`
 */
export async function bundleReferences(
  { request, response, signal }: RequestContext,
  { images }: BundleRoute,
): Promise<readonly WrittenImage[]> {
  if (request.method !== 'POST') return images;
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    // The default would destroy the request at an early end, and with it the connection that carries the answer.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      length += chunk.byteLength;
      if (length > MAX_BODY_BYTES) throw refusal(`it is longer than ${MAX_BODY_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof PassthroughError) {
      // The rest of the body is not parsed, so no further request can follow on this connection.
      response.setHeader('Connection', 'close');
      request.resume();
      throw error;
    }
    throw signal.reason ?? new PassthroughError('ABORTED', 'Stopped: the client has left', { cause: error });
  }
  const text = Buffer.concat(chunks).toString('utf8');
  const lines = text.split(/\r?\n/).map((line) => line.replace(/#.*/, '').replaceAll('\t', ' ').trim());
  for (const line of lines) {
    refuseCredentials(line, 'INVALID_REFERENCE', 'image');
    if (/[\p{Cc}\uFFFD]/u.test(line)) throw refusal('it holds a control character or is not UTF-8');
  }
  return [...images, ...lines.filter((line) => line !== '').map(imageOfLine)];
}

function imageOfLine(line: string): WrittenImage {
  const [reference = '', second, ...more] = line.split(/\s+/);
  if (second === undefined) return { reference, since: undefined };
  const since = /^since=(.+)$/.exec(second)?.[1];
  if (since !== undefined && more.length === 0) return { reference, since };
  throw refusal(`expected an image on each line, and since= with its base where wanted: ${quoted(line)}`);
}

function refusal(why: string): PassthroughError {
  return new PassthroughError('INVALID_REFERENCE', `Cannot read the list of images: ${why}`);
}
