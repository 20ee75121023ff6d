import type { EarlyFile } from '../pull/direct/early-archives.ts';
import type { RequestContext } from './request-context.ts';
import { type SendFileOptions, sendBytes, validators } from './send-file.ts';

/** The size of a file whose end is not known yet: no rest begins there. */
const UNKNOWN_SIZE = Number.POSITIVE_INFINITY;

/**
 * Whether a request can be answered while the archive is still being fetched. The end of an answer without a length can be told
 * from a break by HTTP/1.1 only, and a part or the header alone needs the length.
 */
export function mayBeEarly({ request: { method, headers, httpVersion } }: RequestContext): boolean {
  return (method === 'GET' || method === 'POST') && headers.range === undefined && httpVersion !== '1.0';
}

/**
 * Sends an archive while its layers arrive: status 200 at once, then each layer when it is verified. If a layer fails, the connection
 * is destroyed, so that the client sees that its file is incomplete. The download counts as begun with the header, so that a client
 * whose file was cut gets no rest of another one.
 *
 * @throws PassthroughError what fetching the layers throws, and as `sendFile`
 */
export async function sendEarly(
  context: RequestContext,
  file: EarlyFile,
  { downloads, stallMs, ...about }: SendFileOptions,
): Promise<void> {
  const { request, response, facts, client } = context;
  const { size, etag } = file;
  const { socket, url = '' } = request;
  const download = { address: client.address, url, etag, size: size ?? UNKNOWN_SIZE };
  downloads.begin(download);
  const handedOver = downloads.watch(socket, download);
  facts.bytes = 0;
  response.writeHead(200, {
    ...validators(etag, about),
    'Accept-Ranges': 'bytes',
    'Content-Type': file.contentType,
    ...(size !== undefined && { 'Content-Length': size }),
    'Content-Disposition': `attachment; filename="${file.filename}"`,
  });
  response.flushHeaders();
  await sendBytes(context, () => undefined, file.bytes(), stallMs);
  if (size === undefined) downloads.begin({ ...download, size: facts.bytes });
  handedOver();
}
