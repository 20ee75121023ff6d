import { PassthroughError } from '../errors.ts';
import { type Digest, isDigest } from './digest.ts';
import { fieldsOf } from './json.ts';

/**
 * Identifies content by media type, digest and size in bytes.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md
 */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  /** Further locations of the content, as foreign layers have them. Never empty; http and https, without user information. */
  readonly urls?: readonly string[];
  /** Never empty. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Reads a descriptor of a manifest or an index. Malformed URLs and annotations are dropped.
 *
 * @param value JSON from a registry
 * @param name path of the descriptor in its document, for the message
 * @throws PassthroughError `UNSUPPORTED_IMAGE` naming any other field that is missing or malformed
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
  const locations = Array.isArray(urls) ? urls.filter(isWebAddress) : [];
  const notes = Object.entries(fieldsOf(annotations)).filter(isTextEntry);
  return {
    mediaType,
    digest,
    size,
    ...(locations.length > 0 && { urls: locations }),
    ...(notes.length > 0 && { annotations: Object.fromEntries(notes) }),
  };
}

/** Foreign layers are fetched without credentials. URLs that contain a user name or a password are dropped. */
function isWebAddress(value: unknown): value is string {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  const { protocol, username, password } = new URL(value);
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === '';
}

function isTextEntry(entry: [string, unknown]): entry is [string, string] {
  return typeof entry[1] === 'string';
}
