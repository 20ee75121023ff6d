/** The metrics of a known number of requests with different results. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { BuiltImage } from '../support/image.ts';
import {
  type Exporting,
  FILE,
  IMAGE,
  LARGE_BYTES,
  lastMetric,
  makeLargeImage,
  startExporting,
  tableOf,
} from './exporting.ts';

/** The body of the registry's 404. */
const NO_SUCH_MANIFEST = JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'no such tag' }] });

/** https://opentelemetry.io/docs/specs/semconv/http/http-metrics/ */
const CONVENTIONAL_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

const HOUR_S = 3600;

/** Sizes of an image in the registry, in bytes. */
const sizesOf = ({ manifest, config, layers }: BuiltImage) => ({
  manifest: manifest.bytes.length,
  config: config.bytes.length,
  layer: layers.reduce((sum, { blob }) => sum + blob.length, 0),
});

describe('the metrics of requests', () => {
  let exporting: Exporting;
  let tokenBytes = 0;
  let archiveBytes = 0;
  const small = sizesOf(IMAGE);
  let large = { manifest: 0, config: 0, layer: 0 };

  const metric = (name: string) => lastMetric(exporting.receiver, name);
  /** The sum of a field over all requests in the log. */
  const logged = (fact: string) =>
    exporting.service
      .logs()
      .filter(({ event }) => event === 'request')
      .reduce((sum, line) => sum + Number(line[fact] ?? 0), 0);

  before(async () => {
    exporting = await startExporting({
      auth: { mode: 'token' },
      env: () => ({ SHUTDOWN_TIMEOUT: '0.05' }),
    });
    const { service, registry } = exporting;
    const { auth, defects } = registry;
    const token = registry.tokens.issue(['repository:team/app:pull'], 60);
    auth.tokenBody = JSON.stringify({ token });
    tokenBytes = Buffer.byteLength(auth.tokenBody);
    const largeImage = await makeLargeImage();
    registry.push('team/app', 'large', largeImage);
    large = sizesOf(largeImage);

    // Probes, an unknown route and an unknown method.
    for (const path of ['/health', '/health', '/ready']) {
      assert.equal((await exporting.request(path)).status, 200);
    }
    assert.equal((await exporting.request('/favicon.ico')).status, 404);
    assert.equal((await exporting.request('/', { method: 'PROPFIND' })).status, 405);

    // Successful pulls, the first one after a connection reset.
    defects.resetConnections = { pattern: /^GET \/v2\/team\/app\/manifests\//, times: 1 };
    for (const _ of ['first', 'second']) {
      const { status, body } = await exporting.request(FILE);
      assert.equal(status, 200);
      archiveBytes = body.length;
    }
    assert.equal((await exporting.request(FILE, { method: 'HEAD' })).status, 200);

    // Pulls that the service refuses, and one that the registry refuses.
    assert.equal((await exporting.request('/docker/nothing.tar')).status, 400);
    const asked = `/registry-auth/http/127.0.0.1%3A${registry.port}${FILE}`;
    assert.equal((await exporting.request(asked)).status, 401);
    defects.failWith = {
      pattern: /manifests\/missing$/,
      status: 404,
      body: NO_SUCH_MANIFEST,
      afterAuthorization: true,
    };
    assert.equal((await exporting.request('/docker/team_app_missing.tar')).status, 502);

    // A pull that its client aborts.
    defects.stallRequests = { pattern: /blobs/, times: 3 };
    const client = new AbortController();
    const left = assert.rejects(service.open(FILE, { signal: client.signal }), { name: 'AbortError' });
    await registry.waitForStalled(3);
    client.abort();
    await left;
    await service.waitForLog({ event: 'request', outcome: 'aborted' });

    // A pull that breaks off after the 200, by the end of the service.
    const response = await service.open('/docker/team_app_large.tar');
    response.on('error', () => undefined);
    await exporting.stop();
  });
  after(() => exporting[Symbol.asyncDispose]());

  test('have documented kinds and units', () => {
    const table: Readonly<Record<string, readonly [kind: string, unit: string, isMonotonic?: boolean]>> = {
      'http.server.request.duration': ['histogram', 's'],
      'http.client.request.duration': ['histogram', 's'],
      'passthrough.pulls': ['sum', '{pull}', true],
      'passthrough.preparation.duration': ['histogram', 's'],
      'passthrough.registry.received': ['sum', 'By', true],
      'passthrough.client.sent': ['sum', 'By', true],
      'passthrough.preparations.active': ['sum', '{preparation}', false],
      'passthrough.downloads.active': ['sum', '{download}', false],
      'passthrough.workspace.usage': ['sum', 'By', false],
    };
    for (const [name, expected] of Object.entries(table)) {
      const { kind, unit, isMonotonic, scope, resource } = metric(name);
      assert.deepEqual([kind, unit, ...(isMonotonic === undefined ? [] : [isMonotonic])], expected, name);
      assert.deepEqual(
        [scope, resource['service.name']],
        ['docker-http-passthrough', 'docker-http-passthrough'],
      );
    }
  });

  test('count each request, also probes, by method, route and status; only failures have a type', () => {
    const duration = metric('http.server.request.duration');
    const key = ['http.request.method', 'http.route', 'http.response.status_code', 'error.type'];
    assert.deepEqual(tableOf(duration, key), {
      'GET /health 200 -': 2,
      'GET /ready 200 -': 1,
      'GET - 404 -': 1,
      '_OTHER / 405 -': 1,
      'GET /docker/{filename} 200 -': 2,
      'HEAD /docker/{filename} 200 -': 1,
      'GET /docker/{filename} 400 -': 1,
      'GET /registry-auth/{scheme}/{host}/docker/{filename} 401 -': 1,
      'GET /docker/{filename} 502 IMAGE_NOT_FOUND': 1,
      'GET /docker/{filename} - ABORTED': 1,
      'GET /docker/{filename} 200 BROKEN_STREAM': 1,
    });
    for (const { attributes } of duration.points) {
      assert.equal(attributes['url.scheme'], 'http');
      assert.equal(attributes['network.protocol.version'], '1.1');
    }
  });

  test('have the durations of the log, in seconds', () => {
    const { points } = metric('http.server.request.duration');
    const seconds = points.reduce((sum, point) => sum + (point.sum ?? 0), 0);
    const requests = points.reduce((sum, point) => sum + (point.count ?? 0), 0);
    const roundingS = requests * 0.0005;
    const loggedS = logged('ms') / 1000;
    assert.ok(Math.abs(seconds - loggedS) <= roundingS + 1e-9, `${seconds} s are logged as ${loggedS} s`);
  });

  test('have the buckets of the conventions', () => {
    for (const name of ['http.server.request.duration', 'http.client.request.duration']) {
      for (const { bounds, bucketCounts, count } of metric(name).points) {
        assert.deepEqual(bounds, CONVENTIONAL_BOUNDS);
        assert.equal(
          bucketCounts?.reduce((sum, one) => sum + one, 0),
          count,
        );
      }
    }
  });

  test('count each request to the registry by template and status; only failures have a type', () => {
    const duration = metric('http.client.request.duration');
    const key = ['http.request.method', 'url.template', 'http.response.status_code', 'error.type'];
    const manifests = 'GET /v2/{repository}/manifests/{reference}';
    const blobs = 'GET /v2/{repository}/blobs/{digest}';
    assert.deepEqual(tableOf(duration, key), {
      // Each of six pulls first sends a request without a token. A challenge is no failure.
      [`${manifests} 401 -`]: 6,
      [`${manifests} - REGISTRY_UNREACHABLE`]: 1,
      'GET /token 200 -': 1,
      [`${manifests} 200 -`]: 5,
      [`${manifests} 404 404`]: 1,
      // Config and two layers three times, then config and layer of the large image.
      [`${blobs} 200 -`]: 3 * 3 + 2,
      [`${blobs} - ABORTED`]: 3,
    });
    for (const { attributes } of duration.points) {
      assert.deepEqual(
        [attributes['server.address'], attributes['server.port'], attributes['url.scheme']],
        ['127.0.0.1', exporting.registry.port, 'http'],
      );
    }
  });

  test('count pulls by result and reason', () => {
    const key = ['passthrough.outcome', 'error.type', 'registry.name'];
    const { host } = exporting.registry;
    assert.deepEqual(tableOf(metric('passthrough.pulls'), key), {
      [`ok - ${host}`]: 3,
      [`refused INVALID_FILENAME ${host}`]: 1,
      [`refused CREDENTIALS_REQUIRED ${host}`]: 1,
      [`failed IMAGE_NOT_FOUND ${host}`]: 1,
      [`aborted ABORTED ${host}`]: 1,
      [`broken BUSY ${host}`]: 1,
    });
  });

  test('have the durations of preparations, up to an hour', () => {
    const duration = metric('passthrough.preparation.duration');
    assert.deepEqual(tableOf(duration, ['error.type']), { '-': 4, ABORTED: 1 });
    for (const { bounds } of duration.points) assert.equal(bounds?.at(-1), HOUR_S);
    const seconds = duration.points.reduce((sum, point) => sum + (point.sum ?? 0), 0);
    const loggedMs = logged('prepareMs');
    // The log includes resolving and the wait for a permit, and is rounded.
    assert.ok(seconds > 0 && seconds * 1000 <= loggedMs + 6 * 0.5, `${seconds} s within ${loggedMs} ms`);
  });

  test('count the exact bytes from the registry, by operation', () => {
    assert.deepEqual(tableOf(metric('passthrough.registry.received'), ['registry.operation']), {
      token: tokenBytes,
      manifest: 4 * small.manifest + large.manifest + NO_SUCH_MANIFEST.length,
      config: 3 * small.config + large.config,
      layer: 3 * small.layer + large.layer,
    });
  });

  test('count the exact bytes of sent archives; a HEAD has none', () => {
    const { bytes: cut } = exporting.service.logs().find(({ outcome }) => outcome === 'broken') ?? {};
    assert.ok(Number(cut) > 0 && Number(cut) < LARGE_BYTES, `${cut} bytes were sent before the cut`);
    assert.deepEqual(tableOf(metric('passthrough.client.sent'), []), { '': 2 * archiveBytes + Number(cut) });
  });

  test('have no running work at the end', () => {
    for (const name of ['preparations.active', 'downloads.active', 'workspace.usage']) {
      assert.deepEqual(tableOf(metric(`passthrough.${name}`), []), { '': 0 }, name);
    }
  });

  test("include those of Node's runtime", () => {
    for (const name of ['nodejs.eventloop.utilization', 'v8js.memory.heap.used']) {
      const [point] = metric(name).points;
      assert.ok(Number(point?.value) >= 0, name);
    }
    const { active = 0 } = tableOf(metric('nodejs.eventloop.time'), ['nodejs.eventloop.state']);
    assert.ok(active > 0, `the event loop was busy for ${active} s`);
  });
});
