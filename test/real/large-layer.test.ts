/** A layer of more than 4 GiB: more than 32 bits count, in tars, in files and in HTTP. */
import assert from 'node:assert/strict';
import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { makeGzipBombLayer, makeImage } from '../support/image.ts';
import { sizeOf } from './curl.ts';
import { cleanup, requireParts, run, temporaryDirectory } from './parts.ts';
import { startService, untilNothingHeld } from './service.ts';

const GIB = 1024 ** 3;
const FILE_BYTES = 4 * GIB + 12_345;

/** What must be free on the workspace's disk, so that a full disk is not taken for a fault. */
const NEEDED_BYTES = 5 * GIB;

const PARTS = ['curl', 'tar'] as const;

test('a layer of more than 4 GiB is served, and has its length', { timeout: 240_000 }, async (t) => {
  if (!requireParts(t, ...PARTS)) return;
  const { bavail, bsize } = await statfs(tmpdir());
  assert.ok(
    bavail * bsize > NEEDED_BYTES,
    `${tmpdir()} has ${bavail * bsize} bytes free, not ${NEEDED_BYTES}`,
  );
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'large');
  const registry = stack.use(await startFakeRegistry());
  const layer = await makeGzipBombLayer(FILE_BYTES);
  const image = makeImage({ layers: [layer] });
  registry.push('team/large', '1', image);
  const service = await startService(stack, { REGISTRY_URL: registry.origin });

  /** What tar lists of the stream, each entry's length by name, and the length that was promised and the one that came. */
  const list = async (path: string) => {
    const [headers, came] = [join(directory, 'headers'), join(directory, 'came')];
    // Nothing of it is stored: tar reads what curl gets, and curl says in the end how much that was.
    const script = `curl -q -sSf --max-time 120 -D "$1" -w '%{stderr}%{size_download}' "$3" 2>"$2" | tar -tvf -`;
    const shell = ['-o', 'pipefail', '-c', script, 'sh', headers, came, service.origin + path];
    const lines = (await run('bash', shell, { timeout: 150_000 })).trim().split('\n');
    const sizes = new Map(
      lines.map((line) => line.split(/\s+/)).map((parts) => [parts[5], Number(parts[2])]),
    );
    const promised = /^content-length: (\d+)/im.exec(await run('cat', [headers]))?.[1];
    return { sizes, promised, came: await run('cat', [came]) };
  };

  await t.test('uncompressed in layout docker', async () => {
    const { sizes, promised, came } = await list('/docker/team_large_1.tar');
    const [, size] = [...sizes].find(([name]) => name?.endsWith('/layer.tar')) ?? [];
    assert.equal(size, layer.uncompressedSize);
    assert.ok(Number(promised) > layer.uncompressedSize);
    assert.equal(came, promised);
  });

  await t.test('the last bytes of it alone', async () => {
    const file = join(directory, 'tail');
    const range = ['-H', 'Range: bytes=-1024', '-o', file];
    const url = `${service.origin}/docker/team_large_1.tar`;
    const status = await run('curl', ['-q', '-sSf', ...range, '-w', '%{http_code}', url], {
      timeout: 120_000,
    });
    assert.equal(status, '206');
    assert.equal(await sizeOf(file), 1024);
    assert.match(await run('head', ['-c', '1024', file]), /^\0{1024}$/, 'a tar ends in two blocks of zeros');
  });

  await t.test('as it was packed in layout docker-gzip', async () => {
    const { sizes, promised, came } = await list('/docker-gzip/team_large_1.tar');
    assert.equal(sizes.get(`${image.layers[0]?.digest.replace('sha256:', '')}.tar.gz`), layer.blob.length);
    assert.ok(Number(promised) < layer.blob.length + 100_000);
    assert.equal(came, promised);
  });

  await untilNothingHeld(service);
});
