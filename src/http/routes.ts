import { FIELDS } from '../web/choice.ts';
import type { Application } from './application.ts';
import { handleArchive } from './handlers/archive.ts';
import { handleHome } from './handlers/home.ts';
import { handleHealth, handleReady } from './handlers/info.ts';
import { handleManifest, handleTags } from './handlers/inspection.ts';
import { handlePolicy } from './handlers/policy.ts';
import { handlePreparation, handlePrepare } from './handlers/preparations.ts';
import { handleStatus } from './handlers/status.ts';
import type { RequestContext } from './request-context.ts';
import { matchRoute, type RoutePath, type RoutePattern } from './routing/match-route.ts';
import {
  parseArchive,
  parseBundle,
  parseInfo,
  parseManifestRoute,
  parsePolicy,
  parsePreparation,
  parsePrepare,
  parseReferenceArchive,
  parseRegistryArchive,
  parseRegistryAuthArchive,
  parseStatus,
  parseTags,
} from './routing/parsers.ts';
import type { InfoRoute, Route } from './routing/route.ts';
import { usageText } from './routing/usage.ts';

/** A route, and the way to answer it. */
export interface ParsedRoute {
  readonly route: Route;
  readonly answer: (context: RequestContext, app: Application) => Promise<void>;
}

/** A row of the table of routes. A request of a probe has no span, and a log line at level `debug` only. */
export interface RouteRow extends RoutePattern<ParsedRoute> {
  readonly methods: readonly string[];
  /** Whether the answer is an archive, so that the request counts as a pull. */
  readonly isPull: boolean;
  /** A line of the usage text: the request as it is typed, and what it does. */
  readonly usage: readonly [request: string, text: string];
}

const READ = ['GET', 'HEAD'];

const SIZES = ['profile', 'cpu', 'memory', 'disk'] as const;

/** What routes to archives have in common. The names of platform, base, profile and layout may also stand in the path. */
const PULL = {
  methods: READ,
  prefixes: ['platform', 'since', 'early', 'profile'],
  parameters: ['platform', 'arch', 'since', 'start', ...SIZES],
  isPull: true,
  isProbe: false,
} as const;

const OTHER = { methods: READ, prefixes: [], parameters: [], isPull: false, isProbe: false } as const;

/**
 * All routes. Matching, the usage text, 404 and 405 answers, span names, metrics and the page `docs/routes.md` follow from this
 * table. A new route is a handler in `handlers/` and a row here; a path of a new form also has a parser.
 */
export const ROUTES: readonly RouteRow[] = [
  {
    ...PULL,
    pattern: '/{layout}/{filename}',
    parse: answeredBy(parseArchive, handleArchive),
    usage: ['GET /docker/{filename}', 'configured registry'],
  },
  {
    ...PULL,
    pattern: '/registry/{scheme}/{host}/{layout}/{filename}',
    parse: answeredBy(parseRegistryArchive, handleArchive),
    usage: ['GET /registry/{scheme}/{host}/docker/{filename}', 'registry in the path'],
  },
  {
    ...PULL,
    pattern: '/registry-auth/{scheme}/{host}/{layout}/{filename}',
    parse: answeredBy(parseRegistryAuthArchive, handleArchive),
    usage: [
      'GET /registry-auth/{scheme}/{host}/docker/{filename}',
      'the same, with Basic credentials of the registry',
    ],
  },
  {
    ...PULL,
    pattern: '/{reference}',
    prefixes: [],
    parameters: ['platform', 'arch', 'layout', 'format', 'name', 'since', 'start', ...SIZES],
    parse: answeredBy(parseReferenceArchive, handleArchive),
    usage: ['GET /{reference}', 'by reference, gzipped: /alpine:latest, /ghcr.io/org/app:1'],
  },
  {
    ...PULL,
    pattern: '/bundle.{ending}',
    methods: [...READ, 'POST'],
    prefixes: ['platform', 'early'],
    parameters: ['platform', 'arch', 'layout', 'image', 'since', 'start'],
    parse: answeredBy(parseBundle, handleArchive),
    usage: [
      'GET /bundle.tar?image=nginx:1.25&image=redis:7',
      'several images in one archive; or POST, one a line',
    ],
  },
  {
    ...OTHER,
    pattern: '/manifest/{reference}',
    parameters: ['platform', 'arch', 'type', 'since', 'layout', ...SIZES],
    parse: answeredBy(parseManifestRoute, handleManifest),
    usage: ['GET /manifest/{reference}', 'the manifest, before pulling'],
  },
  {
    ...OTHER,
    pattern: '/tags/{repository}',
    parse: answeredBy(parseTags, handleTags),
    usage: ['GET /tags/{repository}', 'the tags of a repository'],
  },
  {
    ...OTHER,
    pattern: '/prepare/{archive}',
    methods: ['POST'],
    parse: answeredBy(parsePrepare, handlePrepare),
    usage: ['POST /prepare/docker/{filename}', 'fetches it beforehand; answers where to ask how far it is'],
  },
  {
    ...OTHER,
    pattern: '/preparations/{id}',
    methods: [...READ, 'DELETE'],
    parse: answeredBy(parsePreparation, handlePreparation),
    usage: ['GET /preparations/{id}', 'how far a preparation is; DELETE cancels it'],
  },
  {
    ...OTHER,
    pattern: '/status',
    parameters: ['clients', 'refresh'],
    parse: answeredBy(parseStatus, handleStatus),
    usage: ['GET /status', 'what the service is doing, for operators'],
  },
  {
    ...OTHER,
    pattern: '/policy/{reference}',
    parameters: ['platform'],
    parse: answeredBy(parsePolicy, handlePolicy),
    usage: [
      'GET /policy/{reference}',
      'what applies to an image: registry, mirrors, credentials; for operators',
    ],
  },
  {
    ...OTHER,
    pattern: '/health',
    isProbe: true,
    parse: answeredBy(parseInfo, handleHealth),
    usage: ['GET /health', 'whether the process serves'],
  },
  {
    ...OTHER,
    pattern: '/ready',
    isProbe: true,
    parse: answeredBy(parseInfo, handleReady),
    usage: ['GET /ready', 'whether it can serve archives now'],
  },
  {
    ...OTHER,
    pattern: '/',
    parameters: FIELDS,
    parse: answeredBy(parseInfo, handleRoot),
    usage: ['GET /', 'this text; to a browser, a page that builds these requests'],
  },
];

/** Paths that probes ask for. */
export const PROBE_PATHS: readonly string[] = ROUTES.filter(({ isProbe }) => isProbe).map(
  ({ pattern }) => pattern,
);

/**
 * Finds the route of a request target.
 *
 * @throws PassthroughError as `matchRoute`
 */
export function findRoute(target: string): { readonly row: RouteRow } & ParsedRoute {
  const { row, parsed } = matchRoute(ROUTES, target);
  return { row, ...parsed };
}

/** Ties the parser of a route to the handler that takes its result. */
function answeredBy<R extends Route>(
  parse: (path: RoutePath) => R,
  handle: (context: RequestContext, route: R, app: Application) => Promise<void>,
): (path: RoutePath) => ParsedRoute {
  return (path) => {
    const route = parse(path);
    return { route, answer: (context, app) => handle(context, route, app) };
  };
}

/** Answers with what the service is: the page to browsers, else what to type. */
async function handleRoot(context: RequestContext, route: InfoRoute, app: Application): Promise<void> {
  await handleHome(context, route, app, (host) => usageText(host, ROUTES, context.client.scheme));
}
