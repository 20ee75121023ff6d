import type { ByteRange } from '../../tar/encoder.ts';

/**
 * A file with one line in the form that `sha256sum -c` reads.
 *
 * @see https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html
 */
export function checksumFile(line: string, filename: string, etag: string) {
  const content = Buffer.from(line);
  return {
    filename,
    contentType: 'text/plain; charset=utf-8',
    size: content.byteLength,
    etag,
    sha256: undefined,
    leftOut: [],
    bytes: async function* ({ start, end }: ByteRange = { start: 0, end: content.byteLength }) {
      yield content.subarray(start, end);
    },
    close: () => undefined,
  };
}
