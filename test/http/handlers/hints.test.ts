/** Errors say what to try, where a mistake is a usual one. */

import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import { describe, test } from 'node:test';
import { startScene } from '../../support/cached.ts';
import { builtManifest, MEDIA_TYPES, makeImage, makeIndex, makeLayer } from '../../support/image.ts';
import { listen } from '../../support/listening.ts';

const ONE = makeImage({ layers: [{ tar: makeLayer({ hello: 'world' }) }] });

const REFERENCE_HINT = /\nWith a reference, the platform is a parameter: \/lab\/hello:1\?platform=/;

describe('a request that is a usual mistake', () => {
  const table: readonly [path: string, status: number, says: RegExp][] = [
    ['/platform/linux/arm64/lab/hello:1', 400, new RegExp(`${REFERENCE_HINT.source}linux/arm64\\n`)],
    ['/platform/ir1101/lab/hello:1', 400, new RegExp(`${REFERENCE_HINT.source}ir1101\\n`)],
    [
      '/platform/cat9999/docker/lab_hello_1.tar',
      400,
      /a device, .*\n\nDid you mean cat9300\? Devices: ir1101, /,
    ],
    ['/docker/lab_hello_1.tar?platform=ir1102', 400, /\nDid you mean ir1101\?/],
    ['/manifest/lab/hello:1?platform=toaster', 400, /\nDevices: ir1101, /],
    [
      '/docker/lab_hello.tar',
      502,
      /\nlab_hello\.tar is the tag hello of lab; the latest lab\/hello is written lab_hello_latest\.tar\n/,
    ],
    ['/oci/lab_hello.tgz.sha256', 502, /\nlab_hello\.tgz is .* written lab_hello_latest\.tgz\n/],
  ];
  for (const [path, status, says] of table) {
    test(`${path} gets a hint`, async () => {
      await using scene = await startScene();
      scene.registry.push('lab/hello', '1', ONE);
      await using service = await scene.start({});
      const reply = await service.request(path);
      assert.equal(reply.status, status);
      assert.match(reply.body.toString(), says);
    });
  }

  const none: readonly string[] = ['/docker/lab_hello_2.tar', '/docker/lab__hello_2.tar', '/lab/hello:2'];
  for (const path of none) {
    test(`${path}, which is none, gets no hint`, async () => {
      await using scene = await startScene();
      scene.registry.push('lab/hello', '1', ONE);
      await using service = await scene.start({});
      assert.match((await service.request(path)).body.toString(), /^[^\n]+\n\nimage: /);
    });
  }
});

describe('a web server that is taken for a registry', () => {
  const html: RequestListener = ({ url = '' }, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.statusCode = url.includes('login') ? 200 : 404;
    response.end('\n<!doctype html><title>x</title>');
  };
  const paths = ['/lab/hello:1', '/lab/login:1', `/lab/login@${ONE.manifest.digest}`];
  for (const path of paths) {
    test(`${path} says so`, async () => {
      await using web = await listen(createServer(html), 'http');
      await using scene = await startScene();
      await using service = await scene.start({});
      for (const url of [`/127.0.0.1:${web.port}${path}`, `/manifest/127.0.0.1:${web.port}${path}`]) {
        const reply = await service.request(url);
        assert.equal(reply.status, 502);
        assert.match(reply.body.toString(), /: this is no registry, it answered HTML\n\nCheck host and port/);
        assert.match(reply.body.toString(), /^error: REGISTRY_FAILED$/m);
      }
    });
  }

  test('and so do its tags', async () => {
    await using web = await listen(createServer(html), 'http');
    await using scene = await startScene();
    await using service = await scene.start({});
    const reply = await service.request(`/tags/127.0.0.1:${web.port}/login`);
    assert.match(reply.body.toString(), /tag list .*: this is no registry, it answered HTML\n/);
  });
});

test('JSON that a proxy calls HTML is taken as it is', async () => {
  await using scene = await startScene();
  scene.registry.push('lab/hello', '1', ONE);
  scene.registry.defects.manifestContentType = 'text/html';
  await using service = await scene.start({});
  assert.equal((await service.request('/docker/lab_hello_1.tar')).status, 200);
});

describe('a manifest of documents', () => {
  for (const type of ['application/vnd.in-toto+json', 'application/vnd.dev.cosign.simplesigning.v1+json']) {
    const layer = { mediaType: type, digest: ONE.config.digest, size: ONE.config.bytes.length };
    const manifest = builtManifest(MEDIA_TYPES.oci.manifest, {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.oci.manifest,
      config: { ...layer, mediaType: MEDIA_TYPES.oci.config },
      layers: [layer],
    });
    const pushed = { manifest, blobs: ONE.blobs };
    test(`of ${type} is no image, and layout oci takes it`, async () => {
      await using scene = await startScene();
      scene.registry.push('lab/att', '1', pushed);
      await using service = await scene.start({});
      for (const path of ['/docker/lab_att_1.tar', '/docker-gzip/lab_att_1.tar', '/lab/att:1']) {
        const reply = await service.request(path);
        assert.equal(reply.status, 502, path);
        assert.ok(reply.body.toString().includes(`not a container image: its layers are "${type}"`), path);
      }
      assert.equal((await service.request('/oci/lab_att_1.tar')).status, 200);
      assert.equal((await service.request('/manifest/lab/att:1')).status, 200);
    });
  }
});

describe('an image that is too large', () => {
  for (const name of ['MAX_COMPRESSED_BYTES', 'MAX_IMAGE_BYTES', 'MAX_MANIFEST_BYTES']) {
    test(`names ${name}`, async () => {
      await using scene = await startScene();
      scene.registry.push('lab/hello', '1', makeIndex([{ image: ONE }]));
      await using service = await scene.start({ [name]: '10' });
      const reply = await service.request('/docker/lab_hello_1.tar');
      assert.equal(reply.status, 507);
      assert.match(reply.body.toString(), new RegExp(`\\n${name} .*\\n`));
    });
  }
});

test('a preparation of what is there already has all its layers', async () => {
  await using scene = await startScene();
  scene.registry.push('lab/hello', '1', ONE);
  await using service = await scene.start({});
  const size = ONE.layers.reduce((sum, { blob }) => sum + blob.length, 0);
  for (const path of ['/docker/lab_hello_1.tgz', '/docker/lab_hello_1.tgz', '/docker/lab_hello_1.tar']) {
    const { headers } = await service.request(`/prepare${path}`, { method: 'POST' });
    // The GET waits for the same work.
    assert.equal((await service.request(path)).status, 200);
    const { layers, bytes } = JSON.parse(
      (await service.request(String(headers['location']))).body.toString(),
    );
    assert.deepEqual(
      { layers, bytes },
      { layers: { done: 1, total: 1 }, bytes: { done: size, total: size } },
      path,
    );
  }
});
