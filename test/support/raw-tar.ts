/** Tar archives by hand: any header, in any format, right or wrong. */

/** Length of a tar block. */
const BLOCK = 512;

/** Fields of a header. All but the name have a default. */
export interface RawEntry {
  readonly name: string | Buffer;
  readonly content?: string | Buffer;
  /** One character: `0` unless given. */
  readonly typeflag?: string;
  readonly linkname?: string;
  /** The size field; that of the content unless given. A text is written as it is. */
  readonly size?: number | string | Buffer;
  /** `ustar\0` and `00` unless given. */
  readonly magic?: string;
  readonly prefix?: string;
  /** The checksum field; the right one unless given. */
  readonly checksum?: 'signed' | 'wrong';
}

/** The end of an archive: two zero blocks. */
export const END = Buffer.alloc(2 * BLOCK);

/** A header block and the content, with padding. */
export function rawEntry(entry: RawEntry): Buffer {
  const content = Buffer.from(entry.content ?? '');
  const header = Buffer.alloc(BLOCK);
  put(header, 0, entry.name, 100);
  put(header, 100, '0000644\0', 8);
  put(header, 108, '0000000\0', 8);
  put(header, 116, '0000000\0', 8);
  const { size = content.length } = entry;
  put(header, 124, typeof size === 'number' ? `${size.toString(8).padStart(11, '0')}\0` : size, 12);
  put(header, 136, '00000000000\0', 12);
  put(header, 148, '        ', 8);
  put(header, 156, entry.typeflag ?? '0', 1);
  put(header, 157, entry.linkname ?? '', 100);
  put(header, 257, entry.magic ?? 'ustar\x0000', 8);
  put(header, 345, entry.prefix ?? '', 155);
  const signed = entry.checksum === 'signed';
  const sum = header.reduce((total, byte) => total + (signed && byte > 0x7f ? byte - 0x100 : byte), 0);
  const right = `${sum.toString(8).padStart(6, '0')}\0 `;
  put(header, 148, entry.checksum === 'wrong' ? '0000001\0' : right, 8);
  return Buffer.concat([header, content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}

/** A whole archive. */
export function rawTar(...entries: readonly (RawEntry | Buffer)[]): Buffer {
  return Buffer.concat([...entries.map((entry) => (Buffer.isBuffer(entry) ? entry : rawEntry(entry))), END]);
}

/** A pax extended header about the next entry, or about all (`g`). */
export function paxEntry(records: Readonly<Record<string, string>>, typeflag: 'x' | 'g' = 'x'): Buffer {
  const content = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = Buffer.byteLength(rest);
    while (String(length).length + Buffer.byteLength(rest) > length) length += 1;
    return `${length}${rest}`;
  });
  return rawEntry({ name: 'PaxHeaders/x', typeflag, content: content.join('') });
}

/** GNU tar's entry with a long name (`L`) or a long link target (`K`) of the next entry. */
export function gnuLong(typeflag: 'L' | 'K', text: string): Buffer {
  return rawEntry({ name: '././@LongLink', typeflag, magic: 'ustar  \0', content: `${text}\0` });
}

/** A size in base-256, as GNU tar writes it from 8 GiB on. */
export function base256(size: bigint): Buffer {
  const field = Buffer.alloc(12);
  field.writeBigInt64BE(size, 4);
  if (size < 0n) field.fill(0xff, 0, 4);
  else field[0] = 0x80;
  return field;
}

function put(header: Buffer, at: number, value: string | Buffer, length: number): void {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  bytes.copy(header, at, 0, Math.min(bytes.length, length));
}
