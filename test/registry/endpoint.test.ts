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
  const place = { origin, repository: 'team/app' };
  const v2 = `${origin}/v2/team/app`;
  const rows = [
    [manifestEndpoint(place, '1.0'), `${v2}/manifests/1.0`, 'manifests/{reference}', 'manifest'],
    [manifestEndpoint(place, digest), `${v2}/manifests/${digest}`, 'manifests/{reference}', 'manifest'],
    [blobEndpoint(place, digest, 'config'), `${v2}/blobs/${digest}`, 'blobs/{digest}', 'config'],
    [blobEndpoint(place, digest, 'layer'), `${v2}/blobs/${digest}`, 'blobs/{digest}', 'layer'],
    [tagsEndpoint(place), `${v2}/tags/list?n=1000`, 'tags/list', 'tags'],
  ] as const;
  for (const [endpoint, url, path, operation] of rows) {
    assert.deepEqual(endpoint, { url: new URL(url), template: `/v2/{repository}/${path}`, operation });
  }
  const url = new URL(foreign);
  assert.deepEqual(foreignEndpoint(url), {
    url,
    template: '{foreign_layer_url}',
    operation: 'layer',
    isForeign: true,
  });
});

test('a namespace stands in the query of each operation', () => {
  const place = { origin: 'https://mirror', repository: 'library/nginx', namespace: 'docker.io' };
  const v2 = 'https://mirror/v2/library/nginx';
  assert.equal(manifestEndpoint(place, '1').url.href, `${v2}/manifests/1?ns=docker.io`);
  assert.equal(blobEndpoint(place, 'sha256:a', 'layer').url.href, `${v2}/blobs/sha256:a?ns=docker.io`);
  assert.equal(tagsEndpoint(place).url.href, `${v2}/tags/list?ns=docker.io&n=1000`);
  const odd = { ...place, namespace: '[::1]:5000' };
  assert.equal(manifestEndpoint(odd, '1').url.searchParams.get('ns'), '[::1]:5000');
});
