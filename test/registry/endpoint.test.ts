import assert from 'node:assert/strict';
import test from 'node:test';
import {
  blobEndpoint,
  foreignEndpoint,
  manifestEndpoint,
  tagsEndpoint,
} from '../../src/registry/endpoint.ts';

const ORIGIN = 'https://registry.example.com:5000';
const DIGEST = `sha256:${'a'.repeat(64)}`;

test('a manifest is asked for by tag or digest', () => {
  for (const reference of ['1.0', DIGEST]) {
    assert.deepEqual(manifestEndpoint(ORIGIN, 'team/app', reference), {
      url: new URL(`https://registry.example.com:5000/v2/team/app/manifests/${reference}`),
      template: '/v2/{repository}/manifests/{reference}',
      operation: 'manifest',
    });
  }
});

test('a blob is asked for by digest, and telemetry is told what it is for', () => {
  for (const operation of ['config', 'layer'] as const) {
    assert.deepEqual(blobEndpoint(ORIGIN, 'team/app', DIGEST, operation), {
      url: new URL(`https://registry.example.com:5000/v2/team/app/blobs/${DIGEST}`),
      template: '/v2/{repository}/blobs/{digest}',
      operation,
    });
  }
});

test('tags are asked for by the thousand', () => {
  assert.deepEqual(tagsEndpoint(ORIGIN, 'team/app'), {
    url: new URL('https://registry.example.com:5000/v2/team/app/tags/list?n=1000'),
    template: '/v2/{repository}/tags/list',
    operation: 'tags',
  });
});

test('a foreign layer is asked for where its descriptor says, and telemetry is told no more than that', () => {
  const url = new URL('https://elsewhere.example.com/layer.tar.gz?sig=1');
  assert.deepEqual(foreignEndpoint(url), { url, template: '{foreign_layer_url}', operation: 'layer' });
});
