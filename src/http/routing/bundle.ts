import { PassthroughError } from '../../errors.ts';
import type { RequestContext } from '../request-context.ts';
import { refuseCredentials } from './path.ts';
import type { BundleRoute } from './route.ts';

/** Longest body of a POST, in bytes: the references of the most images, each as long as one can be. */
const MAX_BODY_BYTES = 32 * 1024;

/**
 * The references of a bundle: those in its query, and of a POST one a line of its body. Empty lines, and what follows a `#`,
 * are left out.
 *
 * @throws PassthroughError `INVALID_REFERENCE` for a body that is too long, is no text, or holds a password; `ABORTED`
 */
export async function bundleReferences(
  { request, response, signal }: RequestContext,
  { references }: BundleRoute,
): Promise<readonly string[]> {
  if (request.method !== 'POST') return references;
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    // Left early, the request must not be destroyed: its connection carries the answer.
    for await (const piece of request.iterator({ destroyOnReturn: false })) {
      length += piece.byteLength;
      if (length > MAX_BODY_BYTES) throw refusal(`it is longer than ${MAX_BODY_BYTES} bytes`);
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof PassthroughError) {
      // Nobody reads the rest, so nothing else can come on this connection.
      response.setHeader('Connection', 'close');
      request.resume();
      throw error;
    }
    throw signal.reason ?? new PassthroughError('ABORTED', 'Stopped: the client has left', { cause: error });
  }
  const text = Buffer.concat(pieces).toString('utf8');
  const lines = text.split(/\r?\n/).map((line) => line.replace(/#.*/, '').trim());
  for (const line of lines) {
    refuseCredentials(line, 'INVALID_REFERENCE', 'image');
    if (/[\p{Cc}\uFFFD]/u.test(line)) throw refusal('it holds a control character or is not UTF-8');
  }
  return [...references, ...lines.filter((line) => line !== '')];
}

function refusal(why: string): PassthroughError {
  return new PassthroughError('INVALID_REFERENCE', `Cannot read the list of images: ${why}`);
}
