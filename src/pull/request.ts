import type { LayoutName } from '../archive/archive.ts';
import type { IoxSizing } from '../archive/iox/settings.ts';
import { LAYOUT_TABLE } from '../archive/layouts.ts';
import { PassthroughError } from '../errors.ts';
import { isDigest } from '../image/digest.ts';
import { type Checksum, type Compression, formatFilename } from '../image/filename.ts';
import type { Platform } from '../image/platform.ts';
import {
  DOCKER_HUB_NAME,
  type NamedReference,
  parseReference,
  type Reference,
  repoTag,
  tagFault,
} from '../image/reference.ts';
import type { BasicCredentials } from '../registry/auth/credentials.ts';
import { type RegistryHost, registryHost } from '../registry/registry-host.ts';
import { type HostPolicy, selectHost, selectHostOfReference } from '../registry/select-host.ts';
import { quoted } from '../util/printable.ts';
import type { Progress } from './progress.ts';

/** One image of an archive. */
export interface ImageRequest {
  readonly host: RegistryHost;
  /** What the registry is asked for. */
  readonly reference: Reference;
  /** The name that the archive gives the image. */
  readonly name: Reference;
  /** An image of the same registry. Layers that it has, too, are left out: the archive is an update for those who have it. */
  readonly base?: Reference | undefined;
}

/** An archive as a caller wants it. */
export interface ArchiveRequest {
  /** At least one, in the order of the archive. */
  readonly images: readonly ImageRequest[];
  readonly platform: Platform | 'all';
  /** Whether the caller names the platform. The default platform also accepts a single image for another one. */
  readonly isPlatformAsked: boolean;
  readonly layout: LayoutName;
  /** What the application gets of its device, in place of what the image says; only for layout iox. */
  readonly sizing?: IoxSizing | undefined;
  readonly compression: Compression;
  /** Asks for one line with the checksum of the archive, in place of the archive. */
  readonly checksum: Checksum | undefined;
  /** Name of the archive, without the ending for a checksum. */
  readonly filename: string;
}

/** What belongs to one call. */
export interface Call {
  /** Stops the call and its requests to the registry. */
  readonly signal: AbortSignal;
  /** The client's own credentials. They are used for this call only, and only if the request names a single registry. */
  readonly credentials?: BasicCredentials | undefined;
  /** Whether the call must bring credentials of its own: the operator's are then not used, of whatever kind. */
  readonly requiresClient?: boolean | undefined;
}

/** A call of `ImageService.pull`. */
export interface PullOptions {
  /** Stops the pull, and later the repair of damaged layers while the file is read. */
  readonly signal: AbortSignal;
  /** Receives how far the pull is, after each piece. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Whose pull it is, so that one client does not take all places. */
  readonly client?: string | undefined;
  /** Whether only the header is wanted: layers are fetched only where it depends on them, and the file has no bytes then. */
  readonly isHeadOnly?: boolean | undefined;
}

/** A call of `ImageService.manifest` or `ImageService.tags`. */
export interface InspectCall extends Call {
  /** Whose look-up it is, so that one client does not take all places. */
  readonly client?: string | undefined;
}

/** A call of `ImageService.prepare`. */
export interface PrepareOptions extends Omit<Call, 'signal'> {
  /** Path under which the archive can be requested, for those who look the preparation up. */
  readonly path: string;
  /** Whose preparation it is, so that one client does not take all places. */
  readonly client?: string | undefined;
}

/** A call of `ImageService.pullTo`. */
export type PullToOptions = Call & Pick<PullOptions, 'onProgress' | 'client'>;

/** The endings of archives. */
const ENDING = /\.(?:tar|tar\.gz|tgz)$/;

/** The platform of requests that name none. */
const DEFAULT_PLATFORM: Platform = { os: 'linux', architecture: 'amd64' };

/**
 * Reads an image by its reference, such as `alpine`, `ghcr.io/org/app:1.2` or `alpine@sha256:…`. A name of one component gets
 * the default namespace of its registry: `library/` on Docker Hub.
 *
 * @param policy the default registry, and which registries are allowed
 * @param scheme of the registry that the reference names, in place of the usual one
 * @throws PassthroughError `INVALID_REFERENCE`, `INVALID_REGISTRY`, `REGISTRY_NOT_ALLOWED`
 */
export function imageRequest(text: string, policy: HostPolicy, scheme?: string): ImageRequest {
  const { host: named, repository, tag, digest } = parseReference(text);
  const host =
    scheme === undefined || named === undefined
      ? selectHostOfReference(named, policy)
      : selectHost({ scheme, host: named }, policy);
  return imageRequestAt(host, { repository, tag, digest });
}

/**
 * An image of a registry.
 *
 * @param named repository, which gets the default namespace if it has one component, and tag or digest
 */
export function imageRequestAt(
  host: RegistryHost,
  { repository: path, tag, digest }: Omit<NamedReference, 'host'>,
): ImageRequest {
  const isBare = !path.includes('/') && host.defaultNamespace !== '';
  const reference: Reference = {
    registryName: host.name,
    repository: isBare ? `${host.defaultNamespace}/${path}` : path,
    ...(tag !== undefined && { tag }),
    ...(digest !== undefined && { digest }),
  };
  return { host, reference, name: reference };
}

/**
 * Makes an image an update of a base.
 *
 *     base ::= tag | [ "@" ] digest | reference      ; a digest may have "=" in place of its colon
 *
 * A tag or a digest is one of the image's own repository. A text with a slash or a colon is a reference, in the same registry, with
 * or without its host.
 *
 * @throws PassthroughError `INVALID_REFERENCE`, also for another registry; `INVALID_REGISTRY`
 */
export function updateOf(image: ImageRequest, since: string): ImageRequest {
  const { host, reference } = image;
  const { registryName, repository } = reference;
  const digest = since.replace(/^@/, '').replace('=', ':');
  if (isDigest(digest)) return { ...image, base: { registryName, repository, digest } };
  if (!/[/:@]/.test(since)) {
    const fault = tagFault(since);
    if (fault === undefined) return { ...image, base: { registryName, repository, tag: since } };
    throw new PassthroughError('INVALID_REFERENCE', `Cannot use since=${quoted(since)}: ${fault}`);
  }
  const named = parseReference(since);
  const scheme = host.origin.startsWith('http:') ? 'http' : 'https';
  const other = named.host === undefined ? host : registryHost(scheme, named.host);
  if (other.origin === host.origin) return { ...image, base: imageRequestAt(host, named).reference };
  throw new PassthroughError(
    'INVALID_REFERENCE',
    `Cannot use since=${quoted(since)}: the base must be in the registry of the image, ${quoted(host.name)}`,
  );
}

/**
 * Fills in what a request leaves open: platform linux/amd64, layout `docker`, no compression, and a filename after the first
 * image.
 *
 * @param images at least one
 */
export function archiveRequest(
  images: readonly [ImageRequest, ...ImageRequest[]],
  options: Partial<Omit<ArchiveRequest, 'images' | 'isPlatformAsked'>> = {},
): ArchiveRequest {
  const { platform = DEFAULT_PLATFORM, layout = 'docker', compression = 'none', checksum, sizing } = options;
  const { filename = updateFilename(filenameOf(images[0].name, compression), images[0]) } = options;
  const isPlatformAsked = options.platform !== undefined;
  return {
    images,
    platform,
    isPlatformAsked,
    layout,
    compression,
    checksum,
    filename,
    ...(sizing !== undefined && { sizing }),
  };
}

/**
 * The name that a caller gives an image in its archive: without a registry, as `docker tag` takes it. Without a tag it keeps that
 * of the reference.
 *
 * @throws PassthroughError `INVALID_REFERENCE`
 */
export function renamed(text: string, reference: Reference): Reference {
  const { host, repository, tag, digest } = parseReference(text);
  if (host !== undefined || digest !== undefined) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot use name=${quoted(text)}: expected a name, with a tag where wanted, such as my-app:1`,
    );
  }
  const hasTag = text.includes(':') && tag !== undefined;
  return { registryName: DOCKER_HUB_NAME, repository, tag: hasTag ? tag : repoTag(reference).tag };
}

/**
 * The filename of an archive of one image, as the filename routes spell it: `nginx_1.25.tar`. A name that their grammar cannot
 * express is written in the same way, for people to read.
 */
export function filenameOf({ repository, tag, digest }: Reference, compression: Compression): string {
  const short = repository.replace(/^library\//, '');
  const version = tag === undefined && digest !== undefined ? { digest } : { tag: tag ?? 'latest' };
  const written = formatFilename({ repository: short, ...version })?.replace(/\.tar$/, '');
  const stem =
    written ?? `${short.replaceAll('/', '__')}_${version.tag ?? version.digest?.replace(':', '=')}`;
  return `${stem}${endingOf(compression)}`;
}

/**
 * The filename of an update archive: `nginx_1.25_since_1.24.tar`. A base in another repository is named with it.
 *
 * @param filename of the whole archive
 */
export function updateFilename(filename: string, { reference, base }: ImageRequest): string {
  if (base === undefined) return filename;
  const ending = ENDING.exec(filename)?.[0] ?? '';
  const version = base.tag ?? base.digest?.replace(':', '=') ?? 'latest';
  const since =
    base.repository === reference.repository ? version : filenameOf(base, 'none').replace(ENDING, '');
  return `${filename.slice(0, filename.length - ending.length)}_since_${since}${ending}`;
}

/** The ending of an archive's filename. */
export function endingOf(compression: Compression): '.tar' | '.tgz' {
  return compression === 'gzip' ? '.tgz' : '.tar';
}

/** Whether the archive is packed for devices. */
export function isPackage({ layout }: Pick<ArchiveRequest, 'layout'>): boolean {
  return LAYOUT_TABLE[layout].isPackage;
}

/**
 * Checks that a request which asks for a package asks for one that there can be.
 *
 * @throws PassthroughError `INVALID_REFERENCE`, `INVALID_PLATFORM`
 */
export function checkPackage(request: ArchiveRequest): void {
  const { images, platform, sizing, layout } = request;
  if (!isPackage(request)) {
    if (sizing === undefined) return;
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot size the application: layout ${layout} has no profile`,
    );
  }
  if (images.length > 1) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot put ${images.length} images into a package: layout ${layout} is for one`,
    );
  }
  if (images.some(({ base }) => base !== undefined)) {
    const why = 'app-hosting install needs the whole image';
    throw new PassthroughError('INVALID_REFERENCE', `Cannot make an update of layout ${layout}: ${why}`);
  }
  if (platform !== 'all' && platform.os === 'linux') return;
  const asked = platform === 'all' ? 'all platforms' : quoted(platform.os);
  throw new PassthroughError('INVALID_PLATFORM', `Cannot make a package for ${asked}: devices run linux`);
}
