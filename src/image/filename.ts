import { PassthroughError } from '../errors.ts';
import { quoted } from '../util/printable.ts';
import { type Digest, digestAlgorithm, digestHex, isDigest } from './digest.ts';
import { repositoryFault, tagFault } from './reference.ts';

/** How the whole archive is compressed. */
export type Compression = 'none' | 'gzip';

/** Checksums that may follow the name of an archive: for `sha256sum -c` and its relatives, and for `verify /md5` of IOS. */
export type Checksum = 'sha256' | 'sha512' | 'md5';

/** A parsed file name. */
export interface ImageFilename {
  /** With the default namespace. */
  readonly repository: string;
  /** Set if `digest` is not. */
  readonly tag?: string;
  readonly digest?: Digest;
  readonly compression: Compression;
  /** The checksum that is requested in place of the archive. */
  readonly checksum: Checksum | undefined;
  /** The file name of the archive, without the ending of a checksum. A checksum line names this file. */
  readonly archiveName: string;
}

/** Endings of archives. {@link formatFilename} writes the first one of a compression. */
const ARCHIVE_ENDINGS: readonly [ending: string, compression: Compression][] = [
  ['.tar', 'none'],
  ['.tar.gz', 'gzip'],
  ['.tgz', 'gzip'],
];

const CHECKSUMS: readonly Checksum[] = ['sha256', 'sha512', 'md5'];

/**
 * Reads the file name of an archive or of its checksum.
 *
 *     filename ::= path "_" ( tag | digest ) archive [ checksum ]      ; the last "_" separates
 *     path     ::= component ( "__" component )+ | component "_" component | component
 *     digest   ::= "sha256=" 64 hex digits | "sha512=" 128 hex digits
 *     archive  ::= ".tar" | ".tar.gz" | ".tgz"
 *     checksum ::= ".sha256" | ".sha512" | ".md5"
 *
 * If the path contains a double underscore, each double underscore means `/` and single ones stay. Otherwise, a path with
 * exactly one underscore is split there. A path with several single underscores is not split, since any of them could mean `/`.
 *
 * A digest has `=` in place of its colon. Repositories and tags cannot contain `=`, so the meaning is unique. `sha256-` would
 * not do: the referrers tag schema begins tags with it. `=` needs no escape in consoles, shells, URLs and file systems.
 *
 * @param filename the decoded last segment of a request path
 * @param defaultNamespace prefix for a path of one component; empty for none
 * @throws PassthroughError `INVALID_FILENAME` naming the broken rule
 */
export function parseFilename(filename: string, defaultNamespace: string): ImageFilename {
  const fail = (why: string) =>
    new PassthroughError('INVALID_FILENAME', `Cannot parse filename ${quoted(filename)}: ${why}`);

  const { stem, ...ending } = parseEnding(filename);
  const separator = stem.lastIndexOf('_');
  if (separator === -1) throw fail('no underscore separates image and tag');

  const version = stem.slice(separator + 1);
  const path = repositoryPath(stem.slice(0, separator));
  const repository = !path.includes('/') && defaultNamespace !== '' ? `${defaultNamespace}/${path}` : path;
  const fault = path === '' ? 'image is empty' : (repositoryFault(repository) ?? versionFault(version));
  if (fault !== undefined) throw fail(fault);
  return { repository, ...parseVersion(version), ...ending };
}

/**
 * Reads the ending of an archive's name.
 *
 * @returns compression and checksum; `stem` is the name without both endings
 * @throws PassthroughError `INVALID_FILENAME` for any other ending
 */
export function parseEnding(
  filename: string,
): Pick<ImageFilename, 'compression' | 'checksum' | 'archiveName'> & { readonly stem: string } {
  const checksum = CHECKSUMS.find((name) => filename.endsWith(`.${name}`));
  const archiveName = checksum === undefined ? filename : filename.slice(0, -`.${checksum}`.length);
  const [ending, compression] = ARCHIVE_ENDINGS.find(([ending]) => archiveName.endsWith(ending)) ?? [];
  if (ending !== undefined && compression !== undefined) {
    return { stem: archiveName.slice(0, -ending.length), compression, checksum, archiveName };
  }
  throw new PassthroughError(
    'INVALID_FILENAME',
    `Cannot parse filename ${quoted(filename)}: it must end in .tar, .tar.gz or .tgz, each of which .sha256, .sha512 or .md5 may follow`,
  );
}

function repositoryPath(image: string): string {
  if (image.includes('__')) return image.replaceAll('__', '/');
  return image.split('_').length === 2 ? image.replace('_', '/') : image;
}

function versionFault(version: string): string | undefined {
  if (!version.includes('=')) return tagFault(version);
  return parseVersion(version).digest === undefined
    ? `digest ${quoted(version)} must be "sha256=" and 64, or "sha512=" and 128 lower-case hex digits`
    : undefined;
}

function parseVersion(version: string): Pick<ImageFilename, 'tag' | 'digest'> {
  const digest = version.replace('=', ':');
  return isDigest(digest) ? { digest } : { tag: version };
}

/**
 * Writes the file name that {@link parseFilename} reads back.
 *
 * @param image the repository with its namespace, and either a tag or a digest; `none` is the default compression
 * @returns `undefined` for images that the grammar cannot express: an underscore in the tag, an underscore in the path that
 *   would be read as `/`, both a tag and a digest, or neither
 */
export function formatFilename(
  image: Pick<ImageFilename, 'repository' | 'tag' | 'digest'> &
    Partial<Pick<ImageFilename, 'compression' | 'checksum'>>,
): string | undefined {
  const { repository, tag, digest, compression = 'none', checksum } = image;
  if ((tag === undefined) === (digest === undefined)) return undefined;
  const version = digest === undefined ? tag : `${digestAlgorithm(digest)}=${digestHex(digest)}`;
  const [ending] = ARCHIVE_ENDINGS.find((candidate) => candidate[1] === compression) ?? [];
  const filename = [`${repository.replaceAll('/', '__')}_${version}${ending}`, checksum]
    .filter((part) => part !== undefined)
    .join('.');
  try {
    const parsed = parseFilename(filename, '');
    return parsed.repository === repository && parsed.tag === tag && parsed.digest === digest
      ? filename
      : undefined;
  } catch {
    return undefined;
  }
}
