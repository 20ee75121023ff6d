import { type Counter, type Gauge, type Histogram, metrics, type UpDownCounter } from '@opentelemetry/api';
import { VERSION } from '../version.ts';

/** The service's own metrics, besides those of Node's runtime. */
export interface Instruments {
  /** Duration of each request to the service, in seconds. */
  readonly serverDuration: Histogram;
  /** Duration of each attempt of a request to a registry, with its body, in seconds. */
  readonly clientDuration: Histogram;
  /** Requests for an archive, by `passthrough.outcome`. */
  readonly pulls: Counter;
  /** Time from the permit of a preparation to its archive or failure, in seconds. */
  readonly preparationDuration: Histogram;
  /** Bytes of bodies from registries and token endpoints, by `registry.operation`. */
  readonly received: Counter;
  /** Bytes of archives that were written to clients' connections. */
  readonly sent: Counter;
  /** Compressed bytes of the layers that updates left out, of each whole download. */
  readonly saved: Counter;
  /** Checks of signatures, by `passthrough.signature.result`. */
  readonly signatures: Counter;
  /** Running preparations. */
  readonly activePreparations: UpDownCounter;
  /** Running downloads of layers. */
  readonly activeDownloads: UpDownCounter;
  /** Bytes in the store of prepared files. */
  readonly workspaceUsage: UpDownCounter;
  /** Requests for a prepared file, by `passthrough.store.result`: `cache`, `shared`, `made`. */
  readonly storeRequests: Counter;
  /** Prepared files that were removed to make room. */
  readonly storeEvictions: Counter;
  /** Seconds until the certificate of the https port expires; negative for an expired one. */
  readonly certificateExpiry: Gauge;
  /** Changes of its files, by `passthrough.outcome`: `ok` or `failed`. */
  readonly certificateReloads: Counter;
  /** Connections to the https port without a complete handshake, by `error.type`. */
  readonly handshakeFailures: Counter;
  /** Requests to mirrors, by `passthrough.mirror.url` and `passthrough.mirror.result`. */
  readonly mirrorRequests: Counter;
  /** Files of the configuration that were read again, by `passthrough.file` and `passthrough.file.result`. */
  readonly fileReloads: Counter;
  /** Files of the configuration whose content cannot be used, so that what was read before is. */
  readonly rejectedFiles: UpDownCounter;
}

/** Bounds of the semantic conventions, in seconds: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/ */
const HTTP_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** In seconds. A small image takes 0.1 s. A large image over a slow line takes minutes; after an hour it times out. */
const PREPARATION_BOUNDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600];

let created: Instruments | undefined;

/**
 * The instruments of this process. They are created at the first call, since an SDK must be started before: in contrast to
 * tracers, instruments of the metrics API do not switch to an SDK that starts later. Without an SDK they do nothing.
 */
export function instruments(): Instruments {
  created ??= createInstruments();
  return created;
}

function createInstruments(): Instruments {
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
    saved: meter.createCounter('passthrough.client.saved', {
      description: 'Compressed bytes of layers that update archives did not send.',
      unit: 'By',
    }),
    signatures: meter.createCounter('passthrough.signatures', {
      description: 'Checks of the signatures of images, by how they ended.',
      unit: '{check}',
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
    certificateExpiry: meter.createGauge('passthrough.certificate.expiry', {
      description: 'Time until the certificate of the service expires.',
      unit: 's',
    }),
    certificateReloads: meter.createCounter('passthrough.certificate.reloads', {
      description: 'Changes of the certificate of the service, by how they ended.',
      unit: '{reload}',
    }),
    handshakeFailures: meter.createCounter('passthrough.tls.failures', {
      description: 'TLS handshakes of clients that failed.',
      unit: '{handshake}',
    }),
    mirrorRequests: meter.createCounter('passthrough.mirror.requests', {
      description: 'Requests to mirrors of registries, by how they were answered.',
      unit: '{request}',
    }),
    fileReloads: meter.createCounter('passthrough.file.reloads', {
      description: 'Changes of files with secrets or certificates, by whether they can be used.',
      unit: '{change}',
    }),
    rejectedFiles: meter.createUpDownCounter('passthrough.files.rejected', {
      description: 'Files with secrets or certificates that cannot be used as they are now.',
      unit: '{file}',
    }),
    workspaceUsage: meter.createUpDownCounter('passthrough.workspace.usage', {
      description: 'Bytes that lie in the workspace.',
      unit: 'By',
    }),
  };
}
