import type { Span } from '@opentelemetry/api';
import type { LayoutName } from '../../archive/archive.ts';
import type { Config } from '../../config/config.ts';
import { PassthroughError } from '../../errors.ts';
import { devicePlatform } from '../../image/device.ts';
import {
  type Checksum,
  type Compression,
  formatFilename,
  parseEnding,
  parseFilename,
} from '../../image/filename.ts';
import { formatPlatform, type Platform, parsePlatformChoice } from '../../image/platform.ts';
import {
  DOCKER_HUB_NAME,
  formatReference,
  parseReference,
  type Reference,
  repoTag,
} from '../../image/reference.ts';
import { referenceAttributes } from '../../pull/image-attributes.ts';
import type { RegistryHost } from '../../registry/registry-host.ts';
import { withSpan } from '../../telemetry/span.ts';
import { isFailure } from '../problem.ts';
import type { RequestContext } from '../request-context.ts';
import type { ArchiveRoute, BundleRoute, ReferenceRoute } from './route.ts';
import { registryOfReference, selectRegistry } from './select-registry.ts';

/** One image that a request asks for. */
export interface ImageOrder {
  readonly target: RegistryHost;
  readonly reference: Reference;
  /** What the archive calls it. */
  readonly name: Reference;
}

/** What a request for an archive asks for, read to the end and judged as far as that goes without a registry. */
export interface ArchiveOrder {
  readonly images: readonly ImageOrder[];
  readonly platform: Platform | 'all';
  readonly isPlatformAsked: boolean;
  readonly layout: LayoutName;
  readonly compression: Compression;
  /** Where it is not the archive that is asked for, but one line about it. */
  readonly checksum: Checksum | undefined;
  /** Name of the archive, without what asks for a checksum. */
  readonly filename: string;
}

/** Most images of one archive. */
const MAX_IMAGES = 32;

/**
 * Reads what a request asks for, and notes it for log and telemetry.
 *
 * @param references of a bundle, those in its body included
 * @param requestSpan gets what is known of registry and image
 * @throws PassthroughError `INVALID_FILENAME`, `INVALID_REFERENCE`, `INVALID_PLATFORM`, `INVALID_REGISTRY`,
 *   `REGISTRY_NOT_ALLOWED`
 */
export function parseOrder(
  { facts }: RequestContext,
  route: ArchiveRoute | ReferenceRoute | BundleRoute,
  references: readonly string[],
  config: Config,
  requestSpan: Span | undefined,
): Promise<ArchiveOrder> {
  return withSpan('parse_image_request', { isFailure }, (span): ArchiveOrder => {
    const order = orderOf(route, references, config, (target, isNamed) => {
      facts.registry = target.name;
      requestSpan?.setAttributes({
        'registry.name': target.name,
        'registry.url': target.origin,
        'registry.target.source': isNamed ? 'request' : 'environment',
        'registry.default_namespace': target.defaultNamespace,
      });
    });
    facts.image = order.images.map(({ reference }) => formatReference(reference)).join(' ');
    facts.platform = order.platform === 'all' ? 'all' : formatPlatform(order.platform);
    const [first] = order.images;
    if (first !== undefined && order.images.length === 1) {
      span.setAttributes(referenceAttributes(first.reference));
      requestSpan?.setAttributes(referenceAttributes(first.reference));
    }
    return order;
  });
}

/** Is told of a registry as soon as it is known, and whether the request names it. */
type RegistryFound = (target: RegistryHost, isNamed: boolean) => void;

function orderOf(
  route: ArchiveRoute | ReferenceRoute | BundleRoute,
  references: readonly string[],
  config: Config,
  found: RegistryFound,
): ArchiveOrder {
  const { layout } = route;
  const common = { layout, ...readPlatform(route.platform, layout, config) };
  switch (route.kind) {
    case 'archive': {
      const target = selectRegistry(route.registry, config.registry);
      found(target, route.registry !== undefined);
      const { repository, tag, digest, compression, checksum, archiveName } = parseFilename(
        route.filename,
        target.defaultNamespace,
      );
      const reference = named(target, repository, tag, digest);
      return {
        ...common,
        images: [{ target, reference, name: reference }],
        compression,
        checksum,
        filename: archiveName,
      };
    }
    case 'reference': {
      const image = imageOf(route.reference, config, found);
      const name = route.name === undefined ? image.reference : renamed(route.name, image.reference);
      const { compression } = route;
      const filename = `${filenameStem(name, route.name)}${compression === 'gzip' ? '.tgz' : '.tar'}`;
      return { ...common, images: [{ ...image, name }], compression, checksum: undefined, filename };
    }
    case 'bundle': {
      const { stem, compression, checksum, archiveName } = parseEnding(route.filename);
      if (stem !== 'bundle') {
        const why = 'that of several images is bundle, followed by its ending';
        throw new PassthroughError(
          'INVALID_FILENAME',
          `Cannot parse filename ${JSON.stringify(route.filename)}: ${why}`,
        );
      }
      if (references.length === 0 || references.length > MAX_IMAGES) {
        throw new PassthroughError(
          'INVALID_REFERENCE',
          `Cannot bundle ${references.length} images: expected 1 to ${MAX_IMAGES}, as ?image=nginx:1.25&image=redis:7 or one a line in a POST`,
        );
      }
      const images = references.map((reference) => {
        const image = imageOf(reference, config, found);
        return { ...image, name: image.reference };
      });
      return { ...common, images, compression, checksum, filename: archiveName };
    }
  }
}

/** An image by its natural reference. */
export function imageOf(
  text: string,
  config: Config,
  found: RegistryFound = () => undefined,
): { readonly target: RegistryHost; readonly reference: Reference } {
  const { host, repository: path, tag, digest } = parseReference(text);
  const target = registryOfReference(host, config.registry);
  found(target, host !== undefined);
  const isBare = !path.includes('/') && target.defaultNamespace !== '';
  return {
    target,
    reference: named(target, isBare ? `${target.defaultNamespace}/${path}` : path, tag, digest),
  };
}

function named(
  target: RegistryHost,
  repository: string,
  tag: Reference['tag'],
  digest: Reference['digest'],
): Reference {
  return {
    registryName: target.name,
    repository,
    ...(tag !== undefined && { tag }),
    ...(digest !== undefined && { digest }),
  };
}

/** The name that a request wants instead: without a registry, as `docker tag` takes it. */
function renamed(text: string, reference: Reference): Reference {
  const { host, repository, tag, digest } = parseReference(text);
  if (host !== undefined || digest !== undefined) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot use name=${JSON.stringify(text)}: expected a name, with a tag where wanted, such as my-app:1`,
    );
  }
  const isTagGiven = text.includes(':');
  return {
    registryName: DOCKER_HUB_NAME,
    repository,
    tag: isTagGiven && tag !== undefined ? tag : repoTag(reference).tag,
  };
}

/** The name of a file for an image, without its ending: as asked for, else as a filename route spells it. */
function filenameStem(name: Reference, asked: string | undefined): string {
  if (asked !== undefined) return asked.replaceAll('/', '__').replace(':', '_');
  const { repository, tag, digest } = name;
  const short = repository.replace(/^library\//, '');
  const version = tag === undefined && digest !== undefined ? { digest } : { tag: tag ?? 'latest' };
  const written = formatFilename({ repository: short, ...version });
  if (written !== undefined) return written.replace(/\.tar$/, '');
  // What the grammar cannot say is written all the same: the name is for people then.
  return `${short.replaceAll('/', '__')}_${version.tag ?? version.digest?.replace(':', '=')}`;
}

function readPlatform(text: string | undefined, layout: LayoutName, config: Config) {
  const device = text === undefined ? undefined : devicePlatform(text);
  const platform = device ?? (text === undefined ? config.defaultPlatform : parsePlatformChoice(text));
  if (platform === 'all' && layout !== 'oci') {
    throw new PassthroughError(
      'INVALID_PLATFORM',
      `Cannot put all platforms into layout ${layout}: only layout oci holds more than one`,
    );
  }
  return { platform, isPlatformAsked: text !== undefined };
}
