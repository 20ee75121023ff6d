import { PassthroughError } from '../errors.ts';
import { type Digest, isDigest } from './digest.ts';
import { fieldsOf } from './json.ts';

/**
 * Points at content: what it is, its digest and its size in bytes.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md
 */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  /**
   * Where else the content lies, as foreign layers say. Never empty; http and https only, none with a
   * password.
   */
  readonly urls?: readonly string[];
  /** Never empty. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Reads a descriptor of a manifest or an index. URLs and annotations that are none are left out, all else
 * must be right.
 *
 * @param value JSON from a registry
 * @param name where it stands in its document, for the message
 * @throws PassthroughError `UNSUPPORTED_IMAGE` naming the field that is missing or wrong
 */
export function parseDescriptor(value: unknown, name: string): Descriptor {
  const { mediaType, digest, size, urls, annotations } = fieldsOf(value);
  const unsupported = (why: string) =>
    new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use manifest: ${name}.${why}`);
  if (typeof mediaType !== 'string') throw unsupported('mediaType is missing');
  if (!isDigest(digest)) throw unsupported('digest is not a sha256 or sha512 digest');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw unsupported('size is not a number of bytes');
  }
  const elsewhere = Array.isArray(urls) ? urls.filter(isWebAddress) : [];
  const notes = Object.entries(fieldsOf(annotations)).filter(isTextEntry);
  return {
    mediaType,
    digest,
    size,
    ...(elsewhere.length > 0 && { urls: elsewhere }),
    ...(notes.length > 0 && { annotations: Object.fromEntries(notes) }),
  };
}

/** Foreign layers are fetched without credentials, so an address that brings its own is none to go to. */
function isWebAddress(value: unknown): value is string {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  const { protocol, username, password } = new URL(value);
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === '';
}

function isTextEntry(entry: [string, unknown]): entry is [string, string] {
  return typeof entry[1] === 'string';
}
