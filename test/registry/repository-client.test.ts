import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { isPassthroughError } from '../../src/errors.ts';
import { parseDigest } from '../../src/image/digest.ts';
import type { Descriptor } from '../../src/image/manifest.ts';
import { sha256 } from '../support/collect.ts';
import type { ContentRangeLie, Defects } from '../support/defects.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { within } from '../support/within.ts';
import {
  type AccessOptions,
  BIG,
  BIG_LAYER,
  CONFIG,
  IMAGE,
  LIMITS,
  layerOf,
  never,
  openAccess,
  REPOSITORY,
  RETRY,
  readLayer,
  SHORT_MS,
} from './open.ts';

const MANIFEST_DIGEST = parseDigest(IMAGE.manifest.digest);
const MANIFEST: Descriptor = {
  mediaType: IMAGE.manifest.mediaType,
  digest: MANIFEST_DIGEST,
  size: IMAGE.manifest.bytes.length,
};

/** A fake registry that has the image under tag 1, and a client that has opened it. */
async function open(defects: Defects = {}, options: AccessOptions = {}) {
  const server: FakeRegistry = await startFakeRegistry({ defects });
  server.push(REPOSITORY, '1', IMAGE);
  const access = openAccess(options);
  const dispose = async (): Promise<void> => {
    access[Symbol.dispose]();
    await server.close();
  };
  return { server, client: access.open(server), [Symbol.asyncDispose]: dispose };
}

const rangesOf = (server: FakeRegistry) => server.requests.map(({ headers }) => headers.range);

test('a manifest is fetched by tag, by digest and by descriptor, its digest counted here', async () => {
  await using setup = await open();
  for (const reference of ['1', MANIFEST_DIGEST, MANIFEST]) {
    const { bytes, digest, contentType } = await setup.client.getManifest(reference, never());
    assert.deepEqual(Buffer.from(bytes), IMAGE.manifest.bytes);
    assert.deepEqual([digest, contentType], [MANIFEST_DIGEST, IMAGE.manifest.mediaType]);
  }
  const [{ path, headers } = assert.fail()] = setup.server.requests;
  assert.equal(path, '/v2/team/app/manifests/1');
  assert.equal(headers['accept-encoding'], 'identity');
  assert.deepEqual(headers.accept?.split(', ').toSorted(), [
    'application/vnd.docker.distribution.manifest.list.v2+json',
    'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.oci.image.index.v1+json',
    'application/vnd.oci.image.manifest.v1+json',
  ]);
});

test('a manifest without a type or a digest in its header is taken as it is', async () => {
  await using setup = await open({ manifestContentType: null, wrongHeaderDigest: null });
  const { digest, contentType } = await setup.client.getManifest('1', never());
  assert.deepEqual([digest, contentType], [MANIFEST_DIGEST, '']);
});

test('a digest by SHA-512 is verified by SHA-512', async () => {
  const digest = `sha512:${createHash('sha512').update(IMAGE.manifest.bytes).digest('hex')}`;
  await using server = await startScriptedServer((_, response) => void response.end(IMAGE.manifest.bytes));
  using access = openAccess();
  assert.equal((await access.open(server).getManifest(parseDigest(digest), never())).digest, digest);
  const other = parseDigest(`sha512:${'0'.repeat(128)}`);
  await assert.rejects(access.open(server).getManifest(other, never()), { code: 'VERIFICATION_FAILED' });
});

test('a manifest that is not what it was asked by fails verification', async () => {
  const cases: [name: string, defects: Defects, reference: string | Descriptor, message: RegExp][] = [
    ['by digest', { wrongManifestDigest: true }, MANIFEST_DIGEST, /its bytes are sha256:/],
    ['by descriptor', { wrongManifestDigest: true }, MANIFEST, /its bytes are sha256:/],
    [
      'by the size of a descriptor',
      {},
      { ...MANIFEST, size: MANIFEST.size + 1 },
      new RegExp(`it has ${MANIFEST.size} bytes, its descriptor says ${MANIFEST.size + 1}`),
    ],
    ['by a tag whose header tells another digest', { wrongHeaderDigest: true }, '1', /its bytes are sha256:/],
    [
      'by digest, with a header that tells another',
      { wrongHeaderDigest: true },
      MANIFEST_DIGEST,
      /its bytes are/,
    ],
  ];
  for (const [name, defects, reference, message] of cases) {
    await using setup = await open(defects);
    await assert.rejects(
      setup.client.getManifest(reference, never()),
      { code: 'VERIFICATION_FAILED', message },
      name,
    );
    assert.equal(setup.server.requests.length, 1, name);
  }
});

test('a failed verification tells the expected and the actual digest', async () => {
  await using setup = await open();
  setup.server.defects.wrongManifestDigest = { bytes: Buffer.from('{}') };
  await assert.rejects(setup.client.getManifest(MANIFEST_DIGEST, never()), {
    message: `Cannot verify manifest "${MANIFEST_DIGEST}": its bytes are ${sha256('{}')}`,
    details: { expected: MANIFEST_DIGEST, actual: sha256('{}') },
  });
});

test('a manifest beyond the limit is read no further', async () => {
  for (const contentLength of [true, false]) {
    await using setup = await open({ hugeManifest: { bytes: 100 * 1024 ** 2, contentLength } });
    await assert.rejects(setup.client.getManifest('1', never()), {
      code: 'IMAGE_TOO_LARGE',
      message: `Cannot read manifest "1": it is larger than ${LIMITS.manifestBytes} bytes`,
    });
    await within(setup.server.waitForNoActiveRequests(), 'the end of the answer');
  }
});

test('a config is fetched and verified', async () => {
  await using setup = await open();
  assert.deepEqual(Buffer.from(await setup.client.getConfig(CONFIG, never())), IMAGE.config.bytes);
  const wrong = { code: 'VERIFICATION_FAILED' };
  await assert.rejects(setup.client.getConfig({ ...CONFIG, size: CONFIG.size - 1 }, never()), wrong);
  setup.server.defects.wrongBlobDigest = true;
  await assert.rejects(setup.client.getConfig(CONFIG, never()), wrong);
  delete setup.server.defects.wrongBlobDigest;
  setup.server.defects.wrongBlobSize = { by: 1 };
  await assert.rejects(setup.client.getConfig(CONFIG, never()), wrong);
  setup.server.defects.wrongBlobSize = { by: -1, contentLength: 'none' };
  await assert.rejects(setup.client.getConfig(CONFIG, never()), wrong);
  assert.equal(setup.server.requests.length, 5);
});

test('a config beyond the limit is read no further', async () => {
  await using setup = await open({ hugeConfig: { bytes: 100 * 1024 ** 2 } });
  await assert.rejects(setup.client.getConfig(CONFIG, never()), {
    code: 'IMAGE_TOO_LARGE',
    message: `Cannot read config "${CONFIG.digest}": it is larger than ${LIMITS.configBytes} bytes`,
  });
  await within(setup.server.waitForNoActiveRequests(), 'the end of the answer');
});

test('a manifest or config that breaks off is fetched anew, three times in all', async () => {
  await using setup = await open();
  const { server, client } = setup;
  server.defects.truncateManifest = { afterBytes: 10, times: 2 };
  assert.equal((await client.getManifest('1', never())).digest, MANIFEST_DIGEST);
  assert.equal(server.countRequests(/manifests/), 3);

  server.defects.truncateManifest = { afterBytes: 10 };
  await assert.rejects(client.getManifest('1', never()), { code: 'REGISTRY_UNREACHABLE' });
  assert.equal(server.countRequests(/manifests/), 6);

  server.defects.truncateBlob = { afterBytes: 10, times: 2 };
  assert.equal((await client.getConfig(CONFIG, never())).length, CONFIG.size);
  assert.deepEqual(
    [server.countRequests(/blobs/), rangesOf(server).some((range) => range !== undefined)],
    [3, false],
  );
});

test('a config that stalls is given up', async () => {
  await using setup = await open({ stallBlob: { afterBytes: 10 } }, { timeouts: { stallMs: SHORT_MS } });
  await assert.rejects(setup.client.getConfig(CONFIG, never()), { code: 'REGISTRY_TIMEOUT' });
  assert.equal(setup.server.requests.length, 1);
  await within(setup.server.waitForNoActiveRequests(), 'the end of the answer');
});

test('a layer comes as it is, unverified, of whatever size', async () => {
  await using setup = await open();
  for (const index of [0, 1]) {
    assert.deepEqual(await readLayer(setup.client, layerOf(index)), IMAGE.layers[index]?.blob);
  }
  setup.server.defects.wrongBlobSize = { by: 5 };
  assert.equal((await readLayer(setup.client)).length, BIG.length + 5);
  assert.deepEqual(rangesOf(setup.server), [undefined, undefined, undefined]);
});

test('a layer that breaks off goes on with Range where it stands', async () => {
  await using setup = await open({ truncateBlob: { afterBytes: 100_000, times: 3 } });
  assert.deepEqual(await readLayer(setup.client), BIG);
  assert.deepEqual(rangesOf(setup.server), [undefined, 'bytes=100000-', 'bytes=200000-', 'bytes=300000-']);
});

test('a layer that stalls goes on with Range where it stands, and the stalled connection is freed', async () => {
  await using setup = await open(
    { stallBlob: { afterBytes: 70_000, times: 1 } },
    { timeouts: { stallMs: SHORT_MS } },
  );
  assert.deepEqual(await readLayer(setup.client), BIG);
  assert.deepEqual(rangesOf(setup.server), [undefined, 'bytes=70000-']);
  await within(setup.server.waitForNoActiveRequests(), 'the end of the stalled answer');
});

test('a layer that breaks off behind a redirect goes on from the registry, which may sign another address', async () => {
  await using storage = await startFakeRegistry({
    defects: { truncateBlob: { afterBytes: 100_000, times: 2 } },
  });
  storage.push(REPOSITORY, '1', IMAGE);
  await using setup = await open({ redirectBlobsTo: storage.origin });
  assert.deepEqual(await readLayer(setup.client), BIG);
  const ranges = [undefined, 'bytes=100000-', 'bytes=200000-'];
  assert.deepEqual([rangesOf(setup.server), rangesOf(storage)], [ranges, ranges]);
});

test('a registry that ignores ranges sends the layer anew, and what was read is passed over', async () => {
  await using setup = await open({ noRange: true, truncateBlob: { afterBytes: 100_000, times: 1 } });
  assert.deepEqual(await readLayer(setup.client), BIG);
  assert.deepEqual(rangesOf(setup.server), [undefined, 'bytes=100000-']);
});

test('a range that is not the one asked for never makes a wrong layer', async () => {
  const cases: [lie: ContentRangeLie, outcome: 'right' | 'refused'][] = [
    ['otherSize', 'right'],
    ['shifted', 'refused'],
    ['missing', 'refused'],
    ['malformed', 'refused'],
  ];
  for (const [lie, outcome] of cases) {
    await using setup = await open({
      wrongContentRange: lie,
      truncateBlob: { afterBytes: 100_000, times: 1 },
    });
    if (outcome === 'right') {
      assert.deepEqual(await readLayer(setup.client), BIG, lie);
    } else {
      await assert.rejects(
        readLayer(setup.client),
        { code: 'REGISTRY_FAILED', message: /^Cannot go on reading / },
        lie,
      );
    }
    assert.equal(setup.server.requests.length, 2, lie);
    await within(setup.server.waitForNoActiveRequests(), 'the end of the answers');
  }
});

test('a range that begins earlier than asked for is read from where it counts', async () => {
  const defects = { wrongContentRange: 'fromZero', truncateBlob: { afterBytes: 100_000, times: 1 } } as const;
  await using setup = await open(defects);
  // The lie has the length of what was asked for: it ends before the blob does, and the next one brings nothing new.
  const read = await readLayer(setup.client);
  assert.deepEqual(read, BIG.subarray(0, BIG.length - 100_000));
  assert.deepEqual(rangesOf(setup.server), [undefined, 'bytes=100000-', `bytes=${BIG.length - 100_000}-`]);
});

test('a registry that sends a part of each range is asked for the rest', async () => {
  const PART = 100_000;
  await using server = await startScriptedServer(({ headers: { range } }, response) => {
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    const part = BIG.subarray(start, start + PART);
    if (range === undefined) {
      response.writeHead(200, { 'Content-Length': BIG.length }).write(part, () => response.destroy());
    } else {
      const contentRange = `bytes ${start}-${start + part.length - 1}/${BIG.length}`;
      response.writeHead(206, { 'Content-Range': contentRange, 'Content-Length': part.length }).end(part);
    }
  });
  using access = openAccess();
  assert.deepEqual(await readLayer(access.open(server)), BIG);
  assert.deepEqual(
    server.requests.map(({ headers }) => headers.range),
    [undefined, 'bytes=100000-', 'bytes=200000-', 'bytes=300000-'],
  );
});

test('a layer that gets no further is given up after three failures', async () => {
  await using setup = await open({ truncateBlob: { afterBytes: 0 } });
  await assert.rejects(readLayer(setup.client), {
    code: 'REGISTRY_UNREACHABLE',
    message: `Cannot reach "${setup.server.origin}": the connection broke off`,
  });
  assert.equal(setup.server.requests.length, 3);
});

test('a layer that comes by a byte a connection is given up after fifty continuations', async () => {
  await using setup = await open({ truncateBlob: { afterBytes: 1 } });
  await assert.rejects(readLayer(setup.client), { code: 'REGISTRY_UNREACHABLE' });
  assert.equal(setup.server.requests.length, 51);
  assert.equal(rangesOf(setup.server).at(-1), 'bytes=50-');
});

test('a layer that is gone, or denied, when it is to go on ends with what the registry says', async () => {
  for (const [status, code] of [
    [404, 'IMAGE_NOT_FOUND'],
    [403, 'REGISTRY_DENIED'],
    [416, 'REGISTRY_FAILED'],
  ] as const) {
    await using setup = await open({ truncateBlob: { afterBytes: 1000, times: 1 } });
    const layer = await setup.client.openLayer(BIG_LAYER, never());
    setup.server.defects.failWith = { status };
    await assert.rejects(
      async () => {
        for await (const _ of layer);
      },
      { code },
    );
    assert.equal(setup.server.requests.length, 2);
  }
});

test('a refused layer is told before any byte', async () => {
  await using setup = await open({ dropBlob: true });
  await assert.rejects(setup.client.openLayer(BIG_LAYER, never()), {
    code: 'IMAGE_NOT_FOUND',
    details: { registryStatus: 404, registryCode: 'BLOB_UNKNOWN' },
  });
});

test('a layer that is given up frees its connection, before the first byte and after', async () => {
  await using setup = await open({ stallBlob: { afterBytes: 1000 } });
  const unread = await setup.client.openLayer(BIG_LAYER, never());
  await setup.server.waitForStalled();
  await unread.return();
  await within(setup.server.waitForNoActiveRequests(), 'the end of the answer that nobody read');

  const begun = await setup.client.openLayer(BIG_LAYER, never());
  await begun.next();
  await begun.return();
  await within(setup.server.waitForNoActiveRequests(), 'the end of the answer that was begun');
});

test('an abort ends every method, and the upstream connection with it', async (t) => {
  const run = async (
    defects: Defects,
    begin: (client: Awaited<ReturnType<typeof open>>['client'], signal: AbortSignal) => Promise<unknown>,
  ): Promise<void> => {
    await using setup = await open(defects);
    const controller = new AbortController();
    const begun = begin(setup.client, controller.signal);
    await setup.server.waitForStalled();
    controller.abort();
    await assert.rejects(begun, { code: 'ABORTED' });
    await within(setup.server.waitForNoActiveRequests(), 'the end of the request');
    assert.equal(setup.server.requests.length, 1);
  };
  await t.test('a manifest', () =>
    run({ stallManifest: true }, (client, signal) => client.getManifest('1', signal)),
  );
  await t.test('a config', () =>
    run({ stallBlob: { afterBytes: 9 } }, (client, signal) => client.getConfig(CONFIG, signal)),
  );
  await t.test('a tag list', () =>
    run({ stallRequests: { pattern: /tags/ } }, (client, signal) => client.listTags(signal)),
  );
  await t.test('a HEAD', () =>
    run({ stallManifest: true }, (client, signal) => client.headManifest('1', signal)),
  );
  await t.test('a foreign layer, without going on to its addresses', () =>
    run({ stallRequests: { pattern: /blobs/ } }, (client, signal) =>
      client.openForeignLayer({ ...BIG_LAYER, urls: ['http://127.0.0.1:1/'] }, signal),
    ),
  );
  await t.test('a layer before its answer', () =>
    run({ stallRequests: { pattern: /blobs/ } }, (client, signal) => client.openLayer(BIG_LAYER, signal)),
  );
  await t.test('a layer in its middle', () =>
    run({ stallBlob: { afterBytes: 1000 } }, (client, signal) => readLayer(client, BIG_LAYER, signal)),
  );
});

test('an abort in the wait before a continuation ends it', async () => {
  await using setup = await open(
    { truncateBlob: { afterBytes: 1000 } },
    { retry: { attempts: 1, baseMs: 600_000, maxMs: 600_000 } },
  );
  const controller = new AbortController();
  const read = readLayer(setup.client, BIG_LAYER, controller.signal);
  await setup.server.waitForRequest(/blobs/);
  await setup.server.waitForNoActiveRequests();
  controller.abort();
  await assert.rejects(read, { code: 'ABORTED' });
});

test('what the registry says of a failure comes along, with the image that it is about', async () => {
  await using setup = await open();
  await assert.rejects(setup.client.getManifest('none', never()), (error) => {
    assert.ok(isPassthroughError(error, 'IMAGE_NOT_FOUND'));
    assert.equal(
      error.message,
      `Cannot get manifest "none" of ${setup.server.host}/team/app: not found: manifest unknown to registry: none (MANIFEST_UNKNOWN)`,
    );
    assert.deepEqual(error.details, { registryStatus: 404, registryCode: 'MANIFEST_UNKNOWN' });
    return true;
  });
});

test('a huge error body is read up to the limit, and what stands in it counts', async () => {
  for (const contentLength of [true, false]) {
    await using setup = await open({ hugeErrorBody: { bytes: 100 * 1024 ** 2, contentLength } });
    await assert.rejects(setup.client.getManifest('none', never()), {
      code: 'IMAGE_NOT_FOUND',
      details: { registryStatus: 404, registryCode: 'MANIFEST_UNKNOWN' },
    });
    await within(setup.server.waitForNoActiveRequests(), 'the end of the answer');
  }
});

test('an error that does not fit the limit is left unread', async () => {
  const message = 'x'.repeat(LIMITS.errorBytes);
  const body = JSON.stringify({ errors: [{ code: 'DENIED', message }] });
  await using setup = await open({ failWith: { status: 403, body } });
  await assert.rejects(setup.client.getManifest('1', never()), {
    code: 'REGISTRY_DENIED',
    details: { registryStatus: 403 },
  });
});

test('an error body that stalls does not hide the error', async () => {
  await using server = await startScriptedServer((_, response) => {
    response.writeHead(404, { 'Content-Length': 100 }).write('{"errors":[');
  });
  using access = openAccess({ timeouts: { stallMs: SHORT_MS } });
  await assert.rejects(access.open(server).getManifest('1', never()), { code: 'IMAGE_NOT_FOUND' });
});

test('a limit of the registry comes with the time that it asks for', async () => {
  const asked = RETRY.maxMs / 1000 + 1;
  await using setup = await open({ failWith: { status: 429, headers: { 'Retry-After': String(asked) } } });
  await assert.rejects(setup.client.getManifest('1', never()), {
    code: 'REGISTRY_RATE_LIMITED',
    details: { registryStatus: 429, registryCode: 'TOOMANYREQUESTS', retryAfterSeconds: asked },
  });
  assert.equal(setup.server.requests.length, 1);
});

/** A registry that has the image under these tags, and a client that has opened it. */
async function openTagged(tags: readonly string[], defects: Defects = {}, options: AccessOptions = {}) {
  const setup = await open(defects, options);
  for (const tag of tags) setup.server.push(REPOSITORY, tag, IMAGE);
  return setup;
}

test('tags are listed, over as many pages as the registry makes of them', async () => {
  const tags = ['1', '1.0', '2', '3-rc.1', 'latest'];
  for (const [tagPageSize, pages] of [
    [undefined, 1],
    [2, 3],
    [1, 5],
  ] as const) {
    await using setup = await openTagged(tags, { tagPageSize });
    assert.deepEqual(await setup.client.listTags(never()), tags);
    assert.equal(setup.server.countRequests(/^GET \/v2\/team\/app\/tags\/list\?/), pages);
    assert.equal(setup.server.requests[0]?.path, '/v2/team/app/tags/list?n=1000');
  }
});

test('the next page is found in every spelling of the link, also on a line of its own', async () => {
  for (const spell of [
    (server: FakeRegistry) => (next: string) => `<${server.origin}${next}>; rel=next`,
    () => (next: string) => `<${next.slice(next.indexOf('?'))}>;REL="prev Next";title="a, b"`,
    () => (next: string) => ['</v2/>; rel="first"', `<${next}>; rel="next"`],
  ]) {
    await using setup = await openTagged(['1', '2', '3'], { tagPageSize: 2 });
    setup.server.defects.tagLink = spell(setup.server);
    assert.deepEqual(await setup.client.listTags(never()), ['1', '2', '3']);
  }
});

test('a next page at another server is not asked for', async () => {
  await using other = await startScriptedServer((_, response) => void response.end('{"tags":["x"]}'));
  await using setup = await openTagged(['1', '2'], { tagPageSize: 1 });
  setup.server.defects.tagLink = (next) => `<${other.origin}${next}>; rel=next`;
  await assert.rejects(setup.client.listTags(never()), {
    code: 'REGISTRY_FAILED',
    message: `Cannot read tag list of ${setup.server.host}/team/app: its next page is at another origin, "${other.origin}"`,
  });
  assert.deepEqual([setup.server.requests.length, other.requests.length], [1, 0]);
});

test('a tag list that breaks off is fetched anew, and one beyond the limit is read no further', async () => {
  await using setup = await openTagged(['1', '2'], { failWith: { status: 503, times: 1 } });
  assert.deepEqual(await setup.client.listTags(never()), ['1', '2']);
  assert.equal(setup.server.requests.length, 2);

  const tags = ['x'.repeat(LIMITS.manifestBytes)];
  setup.server.defects.failWith = { status: 200, body: JSON.stringify({ tags }) };
  await assert.rejects(setup.client.listTags(never()), {
    code: 'REGISTRY_FAILED',
    message: `Cannot read tag list: it is larger than ${LIMITS.manifestBytes} bytes`,
  });
});

test('a tag list that cannot be had ends with what the registry says', async () => {
  await using setup = await open();
  using access = openAccess();
  const none = access.open(setup.server, undefined, {}, 'team/none');
  await assert.rejects(none.listTags(never()), {
    code: 'IMAGE_NOT_FOUND',
    message: `Cannot get tag list of ${setup.server.host}/team/none: not found: repository name not known to registry (NAME_UNKNOWN)`,
    details: { registryStatus: 404, registryCode: 'NAME_UNKNOWN' },
  });
  setup.server.defects.failWith = { status: 403 };
  await assert.rejects(setup.client.listTags(never()), { code: 'REGISTRY_DENIED' });
});

test('tags are listed with a token for the repository', async () => {
  await using server = await startFakeRegistry({ auth: { mode: 'token' }, defects: { tagPageSize: 1 } });
  for (const tag of ['1', '2']) server.push(REPOSITORY, tag, IMAGE);
  using access = openAccess();
  assert.deepEqual(await access.open(server).listTags(never()), ['1', '2']);
  assert.deepEqual([server.tokenRequests.length, server.countRequests(/tags/)], [1, 3]);
});

test('HEAD tells what a tag or digest stands for', async () => {
  await using setup = await open();
  const head = {
    digest: MANIFEST_DIGEST,
    contentType: IMAGE.manifest.mediaType,
    size: MANIFEST.size,
  };
  for (const reference of ['1', MANIFEST_DIGEST]) {
    assert.deepEqual(await setup.client.headManifest(reference, never()), head);
  }
  const [{ method, headers } = assert.fail()] = setup.server.requests;
  assert.equal(method, 'HEAD');
  assert.equal(headers.accept?.split(', ').length, 4);

  setup.server.defects.manifestContentType = null;
  setup.server.defects.noContentLength = {};
  const bare = { digest: MANIFEST_DIGEST, contentType: '', size: undefined };
  assert.deepEqual(await setup.client.headManifest('1', never()), bare);
});

test('the connection of a HEAD serves again, however long the body would be', async () => {
  const ports = new Set<number | undefined>();
  await using server = await startScriptedServer(({ socket }, response) => {
    ports.add(socket.remotePort);
    response.setHeader('Docker-Content-Digest', MANIFEST_DIGEST).setHeader('Content-Length', 1e6).end();
  });
  using access = openAccess();
  const client = access.open(server);
  for (const _ of [1, 2, 3]) assert.equal((await client.headManifest('1', never()))?.size, 1e6);
  assert.equal(ports.size, 1);
});

test('HEAD tells nothing where the registry names no digest, refuses it, or has nothing there', async () => {
  const head = /^HEAD/;
  const cases: [name: string, defects: Defects, reference: string][] = [
    ['no digest', { wrongHeaderDigest: null }, '1'],
    ['no digest that can be verified', { wrongHeaderDigest: 'md5:0' }, '1'],
    ['no HEAD', { failWith: { pattern: head, status: 405 } }, '1'],
    ['no HEAD known', { failWith: { pattern: head, status: 501 } }, '1'],
    ['signed for GET alone', { failWith: { pattern: head, status: 403 } }, '1'],
    ['HEAD taken for no route', { failWith: { pattern: head, status: 404 } }, '1'],
    ['nothing there', {}, 'none'],
  ];
  for (const [name, defects, reference] of cases) {
    await using setup = await open(defects);
    assert.equal(await setup.client.headManifest(reference, never()), undefined, name);
    assert.equal(setup.server.requests.length, 1, name);
  }
});

test('HEAD fails where GET would fare no better', async () => {
  for (const [failWith, code] of [
    [{ status: 401 }, 'REGISTRY_DENIED'],
    [{ status: 429, headers: { 'Retry-After': '99' } }, 'REGISTRY_RATE_LIMITED'],
    [{ status: 500 }, 'REGISTRY_FAILED'],
  ] as const) {
    await using setup = await open({ failWith });
    await assert.rejects(setup.client.headManifest('1', never()), { code });
  }
});

test('HEAD is authorized as GET is', async () => {
  await using server = await startFakeRegistry({ auth: { mode: 'token' } });
  server.push(REPOSITORY, '1', IMAGE);
  using access = openAccess();
  const { digest } = (await access.open(server).headManifest('1', never())) ?? assert.fail();
  assert.deepEqual([digest, server.tokenRequests.length], [MANIFEST_DIGEST, 1]);
});
