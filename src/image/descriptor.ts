import { PassthroughError } from '../errors.ts';
import { type Digest, isDigest } from './digest.ts';
import { fieldsOf } from './json.ts';
import { type JsonShape, MAX_PAIRS } from './json-shape.ts';
import { isForeignLayer } from './media-type.ts';

/**
 * Identifies content by media type, digest and size in bytes.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md
 */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  /** Further locations of a foreign layer. Never empty; http and https, without user information. */
  readonly urls?: readonly string[];
  /** Of a foreign layer. Never empty. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Longest media type: RFC 6838, section 4.2, allows 127 characters on each side of the slash. */
const MAX_MEDIA_TYPE_LENGTH = 255;

/** Most URLs and annotations of a foreign layer. Those of Windows base images have one URL and no annotation. */
const MAX_EXTRAS = MAX_PAIRS;

/** What is read of a descriptor. */
export const DESCRIPTOR_SHAPE = {
  mediaType: 'scalar',
  digest: 'scalar',
  size: 'scalar',
  urls: { items: 'scalar' },
  annotations: 'pairs',
} as const satisfies Readonly<Record<string, JsonShape>>;

/**
 * Reads a descriptor of a manifest or an index. URLs and annotations are read for foreign layers alone, since nothing uses those
 * of other content. Malformed ones are dropped.
 *
 * @param value JSON from a registry, in the form of {@link DESCRIPTOR_SHAPE}
 * @param name path of the descriptor in its document, for the message
 * @throws PassthroughError `UNSUPPORTED_IMAGE` naming any other field that is missing or malformed
 */
export function parseDescriptor(value: unknown, name: string): Descriptor {
  const { mediaType, digest, size, urls, annotations } = fieldsOf(value);
  const unsupported = (why: string) =>
    new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use manifest: ${name}.${why}`);
  if (typeof mediaType !== 'string') throw unsupported('mediaType is missing');
  if (mediaType.length > MAX_MEDIA_TYPE_LENGTH)
    throw unsupported(`mediaType is longer than ${MAX_MEDIA_TYPE_LENGTH} characters`);
  if (!isDigest(digest)) throw unsupported('digest is not a sha256 or sha512 digest');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw unsupported('size is not a number of bytes');
  }
  if (!isForeignLayer({ mediaType })) return { mediaType, digest, size };
  const listOf = (field: string, list: unknown): unknown[] => {
    if (!Array.isArray(list)) return [];
    if (list.length > MAX_EXTRAS) throw unsupported(`${field} has more than ${MAX_EXTRAS} members`);
    return list;
  };
  const locations = listOf('urls', urls).filter(isWebAddress);
  const notes = listOf('annotations', annotations).filter(isTextPair);
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

function isTextPair(pair: unknown): pair is readonly [string, string] {
  return Array.isArray(pair) && typeof pair[0] === 'string' && typeof pair[1] === 'string';
}
