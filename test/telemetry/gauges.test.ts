/** Metrics of running work. The work is stalled until the expected export has arrived. */

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { makeImage, makeLayer } from '../support/image.ts';
import type { OtlpReceiver } from '../support/otlp-receiver.ts';
import { within } from '../support/within.ts';
import {
  type Exporting,
  LARGE_BYTES,
  lastMetric,
  makeLargeImage,
  startExporting,
  tableOf,
} from './exporting.ts';

/** Interval and timeout of exports, in milliseconds: a fiftieth of the longest wait. */
const INTERVAL_MS = '200';

/** Two uncompressed layers, so that the received and written bytes are equal. */
const PLAIN = makeImage({
  layers: ['a', 'b'].map((name) => ({
    tar: makeLayer({ [name]: Buffer.alloc(100_000, name) }),
    compression: 'none' as const,
  })),
});
const [FIRST, SECOND] = PLAIN.layers.map(({ digest }) => digest);
const PLAIN_BYTES = PLAIN.layers.reduce((sum, { blob }) => sum + blob.length, 0);

/** The only file of the large image, with its header and the two blocks at the end of a tar. */
const LARGE_TAR_BYTES = LARGE_BYTES + 3 * 512;

/** Further bytes of a prepared file: checksums of its blocks, and its description. */
const CHECKSUM_SHARE = 4 / (64 * 1024);
const DESCRIPTION_BYTES = 1024;

/** The last export of running work; zeros before the first export. */
function present({ metrics }: OtlpReceiver) {
  const lastOf = (name: string) =>
    metrics.findLast((metric) => metric.name === `passthrough.${name}`)?.points[0]?.value ?? 0;
  return {
    preparations: lastOf('preparations.active'),
    downloads: lastOf('downloads.active'),
    bytes: lastOf('workspace.usage'),
  };
}

describe('the metrics of running work', () => {
  let exporting: Exporting;
  before(async () => {
    exporting = await startExporting({
      env: () => ({ OTEL_METRIC_EXPORT_INTERVAL: INTERVAL_MS, OTEL_METRIC_EXPORT_TIMEOUT: INTERVAL_MS }),
    });
    exporting.registry.push('team/app', 'plain', PLAIN);
  });
  beforeEach(() => {
    const { defects } = exporting.registry;
    for (const name of ['stallBlob', 'truncateBlob'] as const) delete defects[name];
  });
  after(() => exporting[Symbol.asyncDispose]());

  const untilPresent = (expected: ReturnType<typeof present>) => {
    const what = `an export of ${JSON.stringify(expected)}`;
    return exporting.receiver.waitFor(what, (receiver) => {
      const { preparations, downloads, bytes } = present(receiver);
      const isSo =
        preparations === expected.preparations &&
        downloads === expected.downloads &&
        bytes >= expected.bytes &&
        bytes <= expected.bytes * (1 + CHECKSUM_SHARE) + DESCRIPTION_BYTES * Math.sign(expected.bytes);
      return isSo || undefined;
    });
  };

  test('count stalled downloads and the received bytes', async () => {
    const { service, registry } = exporting;
    registry.defects.stallBlob = [
      { digest: FIRST ?? '', afterBytes: 60_000, times: 1 },
      { digest: SECOND ?? '', afterBytes: 5_000, times: 1 },
    ];
    const pulled = service.request('/docker/team_app_plain.tar');
    await untilPresent({ preparations: 1, downloads: 2, bytes: 65_000 });
    registry.releaseStalled();
    assert.equal((await pulled).status, 200);
    await untilPresent({ preparations: 0, downloads: 0, bytes: 0 });
  });

  test('count a preparation without layers', async () => {
    const { service, registry } = exporting;
    const empty = makeImage({ layers: [] });
    registry.push('team/app', 'empty', empty);
    registry.defects.stallRequests = { pattern: new RegExp(empty.config.digest), times: 1 };
    const pulled = service.request('/docker/team_app_empty.tar');
    await untilPresent({ preparations: 1, downloads: 0, bytes: 0 });
    registry.releaseStalled();
    assert.equal((await pulled).status, 200);
  });

  test('count the bytes of an archive until its client leaves', async () => {
    const { service, registry } = exporting;
    registry.push('team/app', 'large', await makeLargeImage());
    const response = await service.open('/docker/team_app_large.tar');
    response.on('error', () => undefined);
    await untilPresent({ preparations: 0, downloads: 0, bytes: LARGE_TAR_BYTES });
    response.destroy();
    await service.waitForLog({ event: 'request', outcome: 'aborted' });
    await untilPresent({ preparations: 0, downloads: 0, bytes: 0 });
  });

  test('count received bytes at once, and no byte twice if a download is resumed', async () => {
    const { service, registry, receiver } = exporting;
    const received = ({ metrics }: OtlpReceiver) => {
      const metric = metrics.findLast(({ name }) => name === 'passthrough.registry.received');
      return metric && tableOf(metric, ['registry.operation'])['layer'];
    };
    await untilPresent({ preparations: 0, downloads: 0, bytes: 0 });
    const earlier = received(receiver) ?? 0;
    const cut = { digest: FIRST ?? '', afterBytes: 30_000, times: 1 };
    registry.defects.stallBlob = [cut, { digest: SECOND ?? '', afterBytes: 0, times: 1 }];
    registry.defects.truncateBlob = { ...cut };
    const pulled = service.request('/docker/team_app_plain.tar');
    const isHere = (bytes: number) => (receiver: OtlpReceiver) =>
      received(receiver) === earlier + bytes || undefined;
    await receiver.waitFor('an export of the bytes before the cut', isHere(30_000));
    await within(registry.waitForStalled(2), 'both layers to be held back');
    registry.releaseStalled();
    assert.equal((await pulled).status, 200);
    await receiver.waitFor('an export of all bytes', isHere(PLAIN_BYTES));
    await exporting.stop();
    assert.equal(received(receiver), earlier + PLAIN_BYTES);

    const attempts = tableOf(lastMetric(receiver, 'http.client.request.duration'), [
      'url.template',
      'http.response.status_code',
      'error.type',
    ]);
    const blobs = '/v2/{repository}/blobs/{digest}';
    assert.deepEqual(
      [attempts[`${blobs} 200 REGISTRY_UNREACHABLE`], attempts[`${blobs} 206 -`]],
      [1, 1],
      'the attempt that was cut, and the one that went on',
    );
  });
});
