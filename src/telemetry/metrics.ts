import { type Counter, type Histogram, metrics, type UpDownCounter } from '@opentelemetry/api';
import { VERSION } from '../version.ts';

/** What the service counts and measures, besides what Node's own runtime metrics tell. */
export interface Instruments {
  /** Seconds of each request that was answered here. */
  readonly serverDuration: Histogram;
  /** Seconds of each attempt of a request to a registry, its body included. */
  readonly clientDuration: Histogram;
  /** Requests for an archive, by `passthrough.outcome`. */
  readonly pulls: Counter;
  /** Seconds from a place at work to an archive that is ready, or a failure. */
  readonly preparationDuration: Histogram;
  /** Bytes of bodies that came from registries and token endpoints, by `registry.operation`. */
  readonly received: Counter;
  /** Bytes of archives that were handed to clients' connections. */
  readonly sent: Counter;
  /** Images that are being prepared now. */
  readonly activePreparations: UpDownCounter;
  /** Layers that are being downloaded now. */
  readonly activeDownloads: UpDownCounter;
  /** Bytes that lie in the store of prepared files now. */
  readonly workspaceUsage: UpDownCounter;
  /** Requests for a prepared file, by `passthrough.store.result`: `cache`, `shared`, `made`. */
  readonly storeRequests: Counter;
  /** Prepared files that went for the sake of others. */
  readonly storeEvictions: Counter;
}

/** Bounds that the conventions give, in seconds: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/ */
const HTTP_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** A small image takes a tenth of a second; a large one over a slow line takes minutes, and after an hour it is given up. */
const PREPARATION_BOUNDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600];

let made: Instruments | undefined;

/**
 * The instruments of this process. They are made when they are first asked for, since the metrics API, unlike that of traces,
 * knows no instrument that comes to life later: an SDK must be started before. Without one they do nothing.
 */
export function instruments(): Instruments {
  made ??= make();
  return made;
}

function make(): Instruments {
  const meter = metrics.getMeter('docker-http-passthrough', VERSION);
  const seconds = (name: string, description: string, bounds: number[]) =>
    meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries: bounds } });
  return {
    serverDuration: seconds('http.server.request.duration', 'Duration of HTTP server requests.', HTTP_BOUNDS),
    clientDuration: seconds('http.client.request.duration', 'Duration of HTTP client requests.', HTTP_BOUNDS),
    pulls: meter.createCounter('passthrough.pulls', {
      description: 'Requests for an archive, by how they ended.',
      unit: '{pull}',
    }),
    preparationDuration: seconds(
      'passthrough.preparation.duration',
      'Time to resolve, fetch, verify and unpack an image.',
      PREPARATION_BOUNDS,
    ),
    received: meter.createCounter('passthrough.registry.received', {
      description: 'Bytes that came from registries and token endpoints.',
      unit: 'By',
    }),
    sent: meter.createCounter('passthrough.client.sent', {
      description: 'Bytes of archives that were sent to clients.',
      unit: 'By',
    }),
    activePreparations: meter.createUpDownCounter('passthrough.preparations.active', {
      description: 'Images that are being prepared.',
      unit: '{preparation}',
    }),
    activeDownloads: meter.createUpDownCounter('passthrough.downloads.active', {
      description: 'Layers that are being downloaded.',
      unit: '{download}',
    }),
    storeRequests: meter.createCounter('passthrough.store.requests', {
      description: 'Requests for a prepared layer or file, by where it came from.',
      unit: '{request}',
    }),
    storeEvictions: meter.createCounter('passthrough.store.evictions', {
      description: 'Prepared layers and files that were removed to make room.',
      unit: '{file}',
    }),
    workspaceUsage: meter.createUpDownCounter('passthrough.workspace.usage', {
      description: 'Bytes that lie in the workspace.',
      unit: 'By',
    }),
  };
}
