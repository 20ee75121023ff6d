import type { EarlyFile } from '../pull/direct/early-archives.ts';
import type { RequestContext } from './request-context.ts';
import { type AboutFile, sendBytes, validators } from './send-file.ts';

/**
 * Whether a request can be answered while the archive is still being fetched. The end of an answer without a length can be told
 * from a break by HTTP/1.1 only, and a part or the header alone needs the length.
 */
export function mayBeEarly({ request: { method, headers, httpVersion } }: RequestContext): boolean {
  return (method === 'GET' || method === 'POST') && headers.range === undefined && httpVersion !== '1.0';
}

/**
 * Sends an archive while its layers arrive: status 200 at once, then each layer when it is verified. If a layer fails, the connection
 * is destroyed, so that the client sees that its file is incomplete.
 *
 * @param stallMs longest time in which the client takes no byte of those that are there, in milliseconds
 * @throws PassthroughError what fetching the layers throws, and as `sendFile`
 */
export async function sendEarly(
  context: RequestContext,
  file: EarlyFile,
  about: AboutFile,
  stallMs: number,
): Promise<void> {
  const { response, facts } = context;
  const { size } = file;
  facts.bytes = 0;
  response.writeHead(200, {
    ...validators(file.etag, about),
    'Accept-Ranges': 'bytes',
    'Content-Type': file.contentType,
    ...(size !== undefined && { 'Content-Length': size }),
    'Content-Disposition': `attachment; filename="${file.filename}"`,
  });
  response.flushHeaders();
  await sendBytes(context, () => undefined, file.bytes(), stallMs);
}
