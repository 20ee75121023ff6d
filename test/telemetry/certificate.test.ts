/** Metrics of the port of https. */

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { makeAuthority } from '../support/authority.ts';
import { connectRaw } from '../support/raw-client.ts';
import { writeTls } from '../support/tls-server.ts';
import { startExporting } from './exporting.ts';

test('the time until the certificate expires, and handshakes that fail', async () => {
  const authority = await makeAuthority();
  const own = await authority.issue({ days: 30 });
  const { files } = await writeTls(own);
  const variables = { HTTPS_PORT: '0', TLS_CERT_FILE: files.certificate, TLS_KEY_FILE: files.key };
  await using exporting = await startExporting({
    env: () => ({ ...variables, OTEL_METRIC_EXPORT_INTERVAL: '200', OTEL_METRIC_EXPORT_TIMEOUT: '200' }),
  });
  const { httpsPort } = await exporting.service.waitForLog({ event: 'listening' });
  using client = await connectRaw(Number(httpsPort));
  client.send(Buffer.from('00ff00ff00ff00ff', 'hex'));
  const found = await exporting.receiver.waitFor('the metrics of https', ({ metrics }) => {
    const last = (name: string) => metrics.findLast((metric) => metric.name === `passthrough.${name}`);
    const [expiry, failures] = [last('certificate.expiry'), last('tls.failures')];
    return expiry === undefined || failures === undefined ? undefined : { expiry, failures };
  });
  // An authority of two days follows nothing: only the file of the certificate counts.
  const left = (Date.parse(new X509Certificate(own.cert).validTo) - Date.now()) / 1000;
  const { value = 0 } = found.expiry.points[0] ?? {};
  assert.equal(found.expiry.unit, 's');
  assert.ok(Math.abs(value - left) < 60, `${value} of ${left} s`);
  const [failed] = found.failures.points;
  assert.deepEqual(
    [failed?.value, failed?.attributes],
    [1, { 'error.type': 'ERR_SSL_WRONG_VERSION_NUMBER' }],
  );
});
