import { type Span, trace } from '@opentelemetry/api';
import type { LayoutName } from '../../archive/archive.ts';
import { parseSizing } from '../../archive/iox/settings.ts';
import { LAYOUT_TABLE } from '../../archive/layouts.ts';
import { PassthroughError } from '../../errors.ts';
import { parseNamedPlatform } from '../../image/device.ts';
import { parseEnding, parseFilename } from '../../image/filename.ts';
import { formatPlatform, type Platform } from '../../image/platform.ts';
import { formatReference, parseReference, type Reference } from '../../image/reference.ts';
import { referenceAttributes } from '../../pull/image-attributes.ts';
import {
  type ArchiveRequest,
  checkPackage,
  endingOf,
  filenameOf,
  type ImageRequest,
  imageRequest,
  renamed,
  updateFilename,
  updateOf,
} from '../../pull/request.ts';
import type { RegistryHost } from '../../registry/registry-host.ts';
import { type HostPolicy, selectHost } from '../../registry/select-host.ts';
import { withSpan } from '../../telemetry/span.ts';
import { quoted } from '../../util/printable.ts';
import { isFailure } from '../problem.ts';
import type { RequestContext } from '../request-context.ts';
import type { ArchiveRoute, BundleRoute, PullRoute, ReferenceRoute, WrittenImage } from './route.ts';

/** Most images of one archive. */
const MAX_IMAGES = 32;

/** What requests are read by. */
export interface RequestPolicy {
  readonly registry: HostPolicy;
  readonly defaultPlatform: Platform;
}

/** Receives the registry of a request as soon as it is known, for log and telemetry. */
type OnRegistry = (host: RegistryHost, isNamed: boolean) => void;

/**
 * Turns a route into a request for an archive, and records it for log and telemetry.
 *
 * @param written images of a bundle, those in the body included
 * @throws PassthroughError `INVALID_FILENAME`, `INVALID_REFERENCE`, `INVALID_PLATFORM`, `INVALID_REGISTRY`,
 *   `REGISTRY_NOT_ALLOWED`
 */
export function parseArchiveRequest(
  context: RequestContext,
  route: PullRoute,
  written: readonly WrittenImage[],
  policy: RequestPolicy,
): Promise<ArchiveRequest> {
  const requestSpan = trace.getActiveSpan();
  return withSpan('parse_image_request', { isFailure }, (span): ArchiveRequest => {
    const request = requestOf(route, written, policy, (host, isNamed) => {
      context.facts.registry = host.name;
      requestSpan?.setAttributes({
        ...registryAttributes(host),
        'registry.target.source': isNamed ? 'request' : 'environment',
        'registry.default_namespace': host.defaultNamespace,
      });
    });
    checkPackage(request);
    const { images, platform } = request;
    context.facts.image = images.map(({ reference }) => formatReference(reference)).join(' ');
    context.facts.platform = platform === 'all' ? 'all' : formatPlatform(platform);
    const bases = images.flatMap(({ base }) => (base === undefined ? [] : formatReference(base)));
    if (bases.length > 0) context.facts.since = bases.join(' ');
    const [first] = images;
    if (first !== undefined && images.length === 1) describe(first.reference, span, requestSpan);
    const [base] = bases;
    if (base !== undefined && images.length === 1) {
      for (const one of [span, requestSpan]) one?.setAttribute('passthrough.since.ref', base);
    }
    return request;
  });
}

/**
 * Reads the image of a route that looks at one, and records it for log and telemetry.
 *
 * @param parse reads the image from the route
 * @throws PassthroughError what `parse` throws
 */
export function parseImage<Image extends ImageRequest>(
  context: RequestContext,
  parse: () => Image,
): Promise<Image> {
  const requestSpan = trace.getActiveSpan();
  return withSpan('parse_image_request', { isFailure }, (span): Image => {
    const image = parse();
    context.facts.registry = image.host.name;
    context.facts.image = formatReference(image.reference);
    describe(image.reference, span, requestSpan);
    requestSpan?.setAttributes(registryAttributes(image.host));
    return image;
  });
}

function describe(reference: Reference, ...spans: readonly (Span | undefined)[]): void {
  for (const span of spans) span?.setAttributes(referenceAttributes(reference));
}

function registryAttributes({ name, origin }: RegistryHost) {
  return { 'registry.name': name, 'registry.url': origin };
}

function requestOf(
  route: PullRoute,
  written: readonly WrittenImage[],
  { registry, defaultPlatform }: RequestPolicy,
  onRegistry: OnRegistry,
): ArchiveRequest {
  const { layout } = route;
  const sizing = route.sizing && parseSizing(route.sizing);
  const common = {
    layout,
    ...(sizing !== undefined && { sizing }),
    ...readPlatform(route.platform, layout, defaultPlatform),
  };
  switch (route.kind) {
    case 'archive':
      return { ...common, ...namedByFile(route, registry, onRegistry) };
    case 'reference':
      return { ...common, ...namedByReference(route, registry, onRegistry) };
    case 'bundle':
      return { ...common, ...bundle(route, written, registry, onRegistry) };
  }
}

type Named = Pick<ArchiveRequest, 'images' | 'compression' | 'checksum' | 'filename'>;

function namedByFile(route: ArchiveRoute, policy: HostPolicy, onRegistry: OnRegistry): Named {
  const host = selectHost(route.registry, policy);
  onRegistry(host, route.registry !== undefined);
  const { repository, tag, digest, compression, checksum, archiveName } = parseFilename(
    route.filename,
    host.defaultNamespace,
  );
  const reference: Reference = {
    registryName: host.name,
    repository,
    ...(tag !== undefined && { tag }),
    ...(digest !== undefined && { digest }),
  };
  const image = withBase({ host, reference, name: reference }, route.since);
  return { images: [image], compression, checksum, filename: updateFilename(archiveName, image) };
}

function namedByReference(route: ReferenceRoute, policy: HostPolicy, onRegistry: OnRegistry): Named {
  const image = imageOf(route.reference, route.since, policy, onRegistry);
  const { compression, name: asked } = route;
  if (asked === undefined) {
    const filename = updateFilename(filenameOf(image.name, compression), image);
    return { images: [image], compression, checksum: undefined, filename };
  }
  const name = renamed(asked, image.reference);
  const filename = `${asked.replaceAll('/', '__').replace(':', '_')}${endingOf(compression)}`;
  return {
    images: [{ ...image, name }],
    compression,
    checksum: undefined,
    filename: updateFilename(filename, image),
  };
}

function bundle(
  route: BundleRoute,
  written: readonly WrittenImage[],
  policy: HostPolicy,
  onRegistry: OnRegistry,
): Named {
  const { stem, compression, checksum, archiveName } = parseEnding(route.filename);
  if (stem !== 'bundle') {
    const why = 'that of several images is bundle, followed by its ending';
    throw new PassthroughError('INVALID_FILENAME', `Cannot parse filename ${quoted(route.filename)}: ${why}`);
  }
  if (written.length === 0 || written.length > MAX_IMAGES) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot bundle ${written.length} images: expected 1 to ${MAX_IMAGES}, as ?image=nginx:1.25&image=redis:7 or one a line in a POST`,
    );
  }
  const images = written.map(({ reference, since }) => imageOf(reference, since, policy, onRegistry));
  const isUpdate = images.some(({ base }) => base !== undefined);
  const filename = isUpdate ? archiveName.replace(stem, `${stem}_update`) : archiveName;
  return { images, compression, checksum, filename };
}

function imageOf(
  text: string,
  since: string | undefined,
  policy: HostPolicy,
  onRegistry: OnRegistry,
): ImageRequest {
  const image = imageRequest(text, policy);
  onRegistry(image.host, parseReference(text).host !== undefined);
  return withBase(image, since);
}

function withBase(image: ImageRequest, since: string | undefined): ImageRequest {
  return since === undefined ? image : updateOf(image, since);
}

function readPlatform(text: string | undefined, layout: LayoutName, defaultPlatform: Platform) {
  const platform = text === undefined ? defaultPlatform : parseNamedPlatform(text);
  if (platform === 'all' && !LAYOUT_TABLE[layout].holdsIndexes) {
    throw new PassthroughError(
      'INVALID_PLATFORM',
      `Cannot put all platforms into layout ${layout}: only layout oci holds more than one`,
    );
  }
  return { platform, isPlatformAsked: text !== undefined };
}
