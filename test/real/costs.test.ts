/** What clients and registries can make the built service hold, as the system sees it. The bounds are wide. */
import { equal, ok } from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import type { BlobLayer } from '../support/layer.ts';
import { descriptorsOf, residentBytes } from '../support/process-state.ts';
import { connectRaw } from '../support/raw-client.ts';

const MIB = 1024 ** 2;

/** What attacks may add to the resident memory of the idle service, in bytes. */
const ONE_CLIENT = 150 * MIB;
const MANY_CLIENTS = 400 * MIB;

/** Milliseconds in which an attack has its effect. */
const ATTACK_LIMIT = 60_000;

/** Milliseconds in which `/health` answers beside an attack: many times what it takes here, on a busy machine. */
const HEALTH_LIMIT = 5_000;

/**
 * Asks for `/health` while an attack goes on.
 *
 * @param isOver whether the attack has had its effect; asked for after each answer
 * @returns by how much the peak of the memory is above `idle`
 */
async function costOf(service: BuiltService, idle: number, isOver: () => boolean): Promise<number> {
  const begun = performance.now();
  do {
    const asked = performance.now();
    const { status } = await service.request('/health');
    const ms = performance.now() - asked;
    ok(status === 200 && ms < HEALTH_LIMIT, `/health answers ${status} within ${ms} ms`);
    ok(asked - begun < ATTACK_LIMIT, 'the attack has its effect');
    await delay(50);
  } while (!isOver());
  return (await residentBytes(service.pid)).peak - idle;
}

test('pipelined requests by the thousand cost little memory', async (t) => {
  await using service = await startBuiltService(
    { LOG_LEVEL: 'info' },
    { nodeArgs: ['--max-old-space-size=256'] },
  );
  const get = 'GET /docker/x.tar HTTP/1.1\r\nHost: a\r\n\r\n';
  const { now: idle } = await residentBytes(service.pid);
  const answered = (count: number) => {
    const before = service.logs().length;
    return () => service.logs().length >= before + count;
  };
  {
    using client = await connectRaw(service.port);
    client.send(get.repeat(60_000));
    const cost = await costOf(service, idle, answered(2_000));
    t.diagnostic(`60,000 requests on one connection: ${Math.round(cost / MIB)} MiB`);
    ok(cost < ONE_CLIENT);
  }
  await using stack = new AsyncDisposableStack();
  const clients = await Promise.all(Array.from({ length: 300 }, () => connectRaw(service.port)));
  for (const client of clients) {
    stack.use(client);
    client.socket.pause();
    client.send(get.repeat(2_500));
  }
  const cost = await costOf(service, idle, answered(5_000));
  t.diagnostic(`2,500 requests on each of 300 connections: ${Math.round(cost / MIB)} MiB`);
  ok(cost < MANY_CLIENTS);
});

/**
 * A layer of zeros with a window of 128 MiB: RFC 8878, section 3.1.1. It takes a few kilobytes, and its decoder keeps all of the
 * content.
 *
 * @param name makes the blob differ from others of the same content: it stands in a skippable frame
 */
function windowedLayer(name: number, diffId: string): BlobLayer {
  const skippable = Buffer.alloc(12);
  skippable.writeUInt32LE(0x184d2a50);
  skippable.writeUInt32LE(4, 4);
  skippable.writeUInt32LE(name, 8);
  const block = Buffer.from([0x02, 0x00, 0x10, 0x00]);
  const last = Buffer.from([0x03, 0x00, 0x10, 0x00]);
  const blocks = Array<Buffer>(WINDOWED_BYTES / (128 * 1024) - 1).fill(block);
  const header = Buffer.from('28b52ffd0088', 'hex');
  return {
    blob: Buffer.concat([skippable, header, ...blocks, last]),
    diffId,
    uncompressedSize: WINDOWED_BYTES,
  };
}

/** Content of a windowed layer, in bytes: less than its window, so that the test does not fill the disk. */
const WINDOWED_BYTES = 96 * MIB;

test('layers of zstd with large windows wait for each other', { timeout: 120_000 }, async (t) => {
  const hash = createHash('sha256');
  for (let bytes = 0; bytes < WINDOWED_BYTES; bytes += MIB) hash.update(Buffer.alloc(MIB));
  const diffId = `sha256:${hash.digest('hex')}`;
  await using registry = await startFakeRegistry();
  for (const tag of [1, 2]) {
    const layers = Array.from({ length: 4 }, (_, at) => windowedLayer(10 * tag + at, diffId));
    registry.push('team/app', `${tag}`, makeImage({ layers }));
  }
  await using service = await startBuiltService({ REGISTRY_URL: registry.url, CACHE_MAX_BYTES: '0' });
  const { now: idle } = await residentBytes(service.pid);
  let isOver = false;
  const answers = Promise.all(
    [1, 2].map((tag) =>
      fetch(`http://127.0.0.1:${service.port}/docker/team_app_${tag}.tar`, { method: 'HEAD' }),
    ),
  ).finally(() => {
    isOver = true;
  });
  const cost = await costOf(service, idle, () => isOver);
  for (const { status } of await answers) equal(status, 200);
  t.diagnostic(`8 windows of 128 MiB: ${Math.round(cost / MIB)} MiB`);
  ok(cost < 300 * MIB);
});

test('slow readers of an archive with thousands of layers hold few files', {
  timeout: 120_000,
}, async (t) => {
  await using registry = await startFakeRegistry();
  const image = (platform: number) =>
    makeImage({
      platform: { os: 'linux', architecture: 'amd64', variant: `v${platform}` },
      layers: Array.from({ length: 300 }, (_, at) => ({ tar: makeLayer({ [`${platform}/${at}`]: 'x' }) })),
    });
  const index = makeIndex([1, 2, 3].map((platform) => ({ image: image(platform) })));
  registry.push('team/app', '1', index);
  await using service = await startBuiltService({ REGISTRY_URL: registry.url }, { openFiles: 256 });
  const path = '/platform/all/oci/team_app_1.tar';
  const { status } = await fetch(`http://127.0.0.1:${service.port}${path}`, {
    headers: { range: 'bytes=0-0' },
  });
  equal(status, 206, 'it is prepared');
  await using stack = new AsyncDisposableStack();
  for (let readers = 0; readers < 20; readers += 1) {
    const client = stack.use(await connectRaw(service.port));
    client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    await client.waitFor(/^HTTP\/1\.1 200 /);
    client.socket.pause();
  }
  const { files, sockets } = await descriptorsOf(service.pid, service.workspace);
  t.diagnostic(`${files.length} files and ${sockets} sockets are open`);
  ok(files.length <= 64 + 20, `${files.length} files are open`);
  equal((await service.request('/health')).status, 200);
  ok(service.logs().some(({ event, level }) => event === 'open_files' && level === 'warn'));
});
