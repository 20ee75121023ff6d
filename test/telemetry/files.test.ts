/** Metrics and logs of files with secrets, and headers of exports that lie in a file. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { lastMetric, startExporting, tableOf } from './exporting.ts';

const SECRET = 'hunter2-7Q';

test('a rejected file counts until it can be used, also while there are no requests', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'files-'));
  const path = join(folder, 'token');
  const headers = join(folder, 'headers');
  await writeFile(path, SECRET);
  await writeFile(headers, `x-key=${SECRET}\n`);
  try {
    await using exporting = await startExporting({
      env: () => ({
        REGISTRY_TOKEN_FILE: path,
        OTEL_EXPORTER_OTLP_HEADERS_FILE: headers,
        OTEL_METRIC_EXPORT_INTERVAL: '200',
        OTEL_METRIC_EXPORT_TIMEOUT: '200',
      }),
    });
    const { service, receiver } = exporting;
    const untilRejected = (count: number) =>
      receiver.waitFor(`${count} rejected files`, ({ metrics }) => {
        const metric = metrics.findLast(({ name }) => name === 'passthrough.files.rejected');
        return metric?.points[0]?.value === count || undefined;
      });
    await writeFile(path, `${SECRET}\n${SECRET}`);
    await service.waitForLog({ event: 'file_rejected', variable: 'REGISTRY_TOKEN_FILE' });
    await untilRejected(1);
    await writeFile(path, 'other');
    await service.waitForLog({ event: 'file_reloaded', variable: 'REGISTRY_TOKEN_FILE' });
    await untilRejected(0);
    await exporting.stop();
    const reloads = lastMetric(receiver, 'passthrough.file.reloads');
    assert.deepEqual(tableOf(reloads, ['passthrough.file', 'passthrough.file.result']), {
      'REGISTRY_TOKEN_FILE rejected': 1,
      'REGISTRY_TOKEN_FILE reloaded': 1,
    });
    assert.ok(!service.output().includes(SECRET));
  } finally {
    await rm(folder, { recursive: true });
  }
});
