import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  blobEndpoint,
  foreignEndpoint,
  manifestEndpoint,
  tagsEndpoint,
} from '../../src/registry/endpoint.ts';

test('each operation has its URL and its template', () => {
  const origin = 'https://registry.example.com:5000';
  const digest = `sha256:${'a'.repeat(64)}`;
  const foreign = 'https://elsewhere.example.com/layer.tar.gz?sig=1';
  const v2 = `${origin}/v2/team/app`;
  const rows = [
    [manifestEndpoint(origin, 'team/app', '1.0'), `${v2}/manifests/1.0`, 'manifests/{reference}', 'manifest'],
    [
      manifestEndpoint(origin, 'team/app', digest),
      `${v2}/manifests/${digest}`,
      'manifests/{reference}',
      'manifest',
    ],
    [blobEndpoint(origin, 'team/app', digest, 'config'), `${v2}/blobs/${digest}`, 'blobs/{digest}', 'config'],
    [blobEndpoint(origin, 'team/app', digest, 'layer'), `${v2}/blobs/${digest}`, 'blobs/{digest}', 'layer'],
    [tagsEndpoint(origin, 'team/app'), `${v2}/tags/list?n=1000`, 'tags/list', 'tags'],
  ] as const;
  for (const [endpoint, url, path, operation] of rows) {
    assert.deepEqual(endpoint, { url: new URL(url), template: `/v2/{repository}/${path}`, operation });
  }
  const url = new URL(foreign);
  assert.deepEqual(foreignEndpoint(url), { url, template: '{foreign_layer_url}', operation: 'layer' });
});
