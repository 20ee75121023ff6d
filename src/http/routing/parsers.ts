/** The parsers of the routes, one for each row of the table in `http/routes.ts`. They decode and do not check: see `Route`. */

import { isLayout, LAYOUTS, type LayoutName } from '../../archive/archive.ts';
import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import type { RoutePath } from './match-route.ts';
import { decodeSegment, refuseCredentials } from './path.ts';
import {
  bundledImages,
  chooseComparison,
  chooseCompression,
  chooseLayout,
  choosePlatform,
  chooseSince,
  chooseSizing,
  chooseStart,
  oneOf,
  single,
} from './query.ts';
import type {
  ArchiveRoute,
  BundleRoute,
  InfoRoute,
  ManifestRoute,
  PolicyRoute,
  PreparationRoute,
  PrepareRoute,
  ReferenceRoute,
  StatusRoute,
  TagsRoute,
} from './route.ts';

/** A fixed path, such as `/health` */
export function parseInfo({ template }: RoutePath): InfoRoute {
  return { kind: 'info', template };
}

/** `/{layout}/{filename}` */
export function parseArchive(path: RoutePath): ArchiveRoute {
  const [layout = '', ...parts] = path.segments;
  if (parts.length > 1) {
    const filename = parts.join('/');
    refuseCredentials(filename, 'INVALID_FILENAME', 'filename');
    throw new PassthroughError(
      'INVALID_FILENAME',
      `Cannot parse filename ${quoted(filename)}: it holds a slash, which is written "__" in a file name`,
    );
  }
  return archiveRoute(path, { layout, filename: parts[0] ?? '' });
}

/** `/registry/{scheme}/{host}/{layout}/{filename}` */
export function parseRegistryArchive(path: RoutePath): ArchiveRoute {
  return registryArchive(path, 'registry');
}

/** `/registry-auth/{scheme}/{host}/{layout}/{filename}` */
export function parseRegistryAuthArchive(path: RoutePath): ArchiveRoute {
  return { ...registryArchive(path, 'registry-auth'), requiresCredentials: true };
}

function registryArchive(path: RoutePath, root: string): ArchiveRoute {
  const form = `/${root}/{scheme}/{host}/docker/{filename}`;
  const { segments } = path;
  if (segments.length < 4)
    throw new PassthroughError('NOT_FOUND', `No route has this path: expected ${form}`);
  if (segments.length > 4) {
    throw new PassthroughError(
      'INVALID_REGISTRY',
      `Cannot parse registry: the host holds a slash, expected ${form}`,
    );
  }
  const [scheme = '', host = '', layout = '', filename = ''] = segments;
  const registry = {
    scheme: decodeSegment(scheme, 'INVALID_REGISTRY', 'registry scheme'),
    host: decodeSegment(host, 'INVALID_REGISTRY', 'registry host'),
  };
  if (!isLayout(layout)) {
    refuseCredentials(layout, 'NOT_FOUND', 'layout');
    throw new PassthroughError(
      'NOT_FOUND',
      `No route has the layout ${quoted(layout)}: expected ${form}, or one of ${LAYOUTS.join(', ')} for docker`,
    );
  }
  return { ...archiveRoute(path, { layout, filename }), registry };
}

function archiveRoute(
  { template, platform, since, early, sizing, query }: RoutePath,
  { layout, filename }: { readonly layout: string; readonly filename: string },
): ArchiveRoute {
  return {
    kind: 'archive',
    template: template.replace('{layout}', layout),
    layout: knownLayout(layout),
    registry: undefined,
    requiresCredentials: false,
    platform: choosePlatform(platform, query),
    start: chooseStart(early, query),
    ...chooseSizing(sizing, query),
    filename: decodeSegment(filename, 'INVALID_FILENAME', 'filename'),
    since: chooseSince(since, query),
  };
}

/** The pattern of a row admits only names of layouts. */
function knownLayout(layout: string): LayoutName {
  if (isLayout(layout)) return layout;
  throw new PassthroughError('INTERNAL', `Cannot parse path: ${quoted(layout)} is no layout`);
}

/** `/{reference}` */
export function parseReferenceArchive({
  template,
  platform,
  early,
  sizing,
  segments,
  query,
}: RoutePath): ReferenceRoute {
  return {
    kind: 'reference',
    template,
    platform: choosePlatform(platform, query),
    ...chooseSizing(sizing, query),
    layout: chooseLayout(query),
    start: chooseStart(early, query),
    reference: decodeReference(segments),
    name: single(query, 'name'),
    compression: chooseCompression(query),
    since: chooseSince(undefined, query),
  };
}

/** `/bundle.{ending}` */
export function parseBundle({ template, platform, early, sizing, segments, query }: RoutePath): BundleRoute {
  return {
    kind: 'bundle',
    template,
    platform: choosePlatform(platform, query),
    ...chooseSizing(sizing, query),
    layout: chooseLayout(query),
    start: chooseStart(early, query),
    images: bundledImages(query),
    filename: decodeSegment(segments[0] ?? '', 'INVALID_FILENAME', 'filename'),
  };
}

/** `/manifest/{reference}` */
export function parseManifestRoute({
  template,
  platform,
  sizing,
  segments,
  query,
}: RoutePath): ManifestRoute {
  return {
    kind: 'manifest',
    template,
    platform: choosePlatform(platform, query),
    ...chooseSizing(sizing, query),
    reference: decodeReference(segments),
    ...chooseComparison(query),
  };
}

/** `/tags/{repository}` */
export function parseTags({ template, segments }: RoutePath): TagsRoute {
  return { kind: 'tags', template, repository: decodeReference(segments) };
}

/** `/prepare/{archive}` */
export function parsePrepare({ template, archive }: RoutePath): PrepareRoute {
  if (archive === undefined) throw new PassthroughError('INTERNAL', 'Cannot parse path: it has no archive');
  return { kind: 'prepare', template, archive };
}

/** `/preparations/{id}` */
export function parsePreparation({ template, segments }: RoutePath): PreparationRoute {
  return { kind: 'preparation', template, id: decodeSegment(segments[0] ?? '', 'NOT_FOUND', 'id') };
}

/** `/status` */
export function parseStatus({ template, query }: RoutePath): StatusRoute {
  const answers = ['yes', 'no'] as const;
  const showsClients = oneOf(query, 'clients', answers, 'INVALID_REQUEST') === 'yes';
  const isRefreshed = oneOf(query, 'refresh', answers, 'INVALID_REQUEST') !== 'no';
  return { kind: 'status', template, showsClients, isRefreshed };
}

/** `/policy/{reference}` */
export function parsePolicy({ template, platform, segments, query }: RoutePath): PolicyRoute {
  const reference = decodeReference(segments);
  return { kind: 'policy', template, platform: choosePlatform(platform, query), reference };
}

/** All segments as one reference. */
function decodeReference(segments: readonly string[]): string {
  if (segments.length === 0) return decodeSegment('', 'INVALID_REFERENCE', 'reference');
  return segments.map((segment) => decodeSegment(segment, 'INVALID_REFERENCE', 'reference')).join('/');
}
