import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type Bounds, removeFolder, runTests } from '../../scripts/check/mutants/run-tests.ts';
import { START_LIMIT_MS, within } from '../support/within.ts';

const BOUNDS: Bounds = { total: 60, gap: 60 };

/** Test files by name. Each notes in the folder that it ran. */
const FILES: Readonly<Record<string, string>> = {
  'passes.test.mjs': `test('passes', () => {}); test('is left out', { skip: true }, () => {});`,
  'fails.test.mjs': `describe('inner', () => test('fails', () => { throw new Error('no'); }));
    test('hangs', async () => { await new Promise(() => setInterval(() => {}, 1000)); });`,
  'hangs.test.mjs': `test('hangs', async () => {
    writeFileSync(join(tmpdir(), 'left'), '');
    spawn(process.execPath, ['-e', "require('net').connect(process.argv[1])", join(process.cwd(), 'socket')]);
    await new Promise(() => setInterval(() => {}, 1000));
  });`,
  'broken.test.mjs': 'test(',
};

const HEAD = `import { describe, test } from 'node:test';
  import { spawn } from 'node:child_process';
  import { appendFileSync, writeFileSync } from 'node:fs';
  import { tmpdir } from 'node:os';
  import { basename, join } from 'node:path';
  appendFileSync('ran', basename(import.meta.filename) + ' ');
`;

async function makeFolder() {
  const path = await mkdtemp(join(tmpdir(), 'run-tests-'));
  for (const [name, code] of Object.entries(FILES)) await writeFile(join(path, name), HEAD + code);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

async function run(
  path: string,
  names: readonly string[],
  bounds = BOUNDS,
  signal = new AbortController().signal,
) {
  return await runTests(
    path,
    names.map((name) => `${name}.test.mjs`),
    bounds,
    signal,
  );
}

describe('tests that are run', () => {
  test('pass', async () => {
    await using folder = await makeFolder();
    const { outcome, failure, seconds, longestGap } = await run(folder.path, ['passes']);
    assert.deepEqual([outcome, failure], ['passed', undefined]);
    assert.ok(longestGap > 0 && longestGap < seconds);
  });

  test('go in the order given and end at the first that fails', async () => {
    await using folder = await makeFolder();
    const { outcome, failure } = await run(folder.path, ['passes', 'fails', 'broken']);
    assert.deepEqual([outcome, failure], ['failed', 'fails.test.mjs: fails']);
    assert.equal(await readFile(join(folder.path, 'ran'), 'utf8'), 'passes.test.mjs fails.test.mjs ');
  });

  test('fail where a file cannot be loaded', async () => {
    await using folder = await makeFolder();
    const { outcome, failure } = await run(folder.path, ['broken']);
    assert.deepEqual([outcome, failure?.startsWith('broken.test.mjs')], ['failed', true]);
  });

  for (const bounds of [
    { ...BOUNDS, gap: 1 },
    { ...BOUNDS, total: 1 },
  ]) {
    test(`end after ${bounds.gap} s idle, ${bounds.total} s in all`, async () => {
      await using folder = await makeFolder();
      assert.equal((await run(folder.path, ['hangs'], bounds)).outcome, 'timeout');
    });
  }

  test('end with the signal and throw its reason; no process or file of theirs is left', async () => {
    await using folder = await makeFolder();
    await using server = createServer().listen(join(folder.path, 'socket'));
    const reason = new Error('stop');
    const abort = new AbortController();
    const running = run(folder.path, ['hangs'], BOUNDS, abort.signal);
    const [socket]: Socket[] = await within(
      once(server, 'connection'),
      'a process of a test',
      START_LIMIT_MS,
    );
    assert.ok(socket);
    // The end of the process resets or ends its connection.
    const closed = new Promise((resolve) =>
      socket
        .on('error', () => undefined)
        .on('close', resolve)
        .resume(),
    );
    abort.abort(reason);
    await assert.rejects(running, reason);
    await within(closed, 'the end of the process');
    const names = await readdir(folder.path);
    assert.deepEqual(
      names.filter((name) => name.startsWith('tmp-')),
      [],
    );
    await assert.rejects(run(folder.path, ['passes'], BOUNDS, abort.signal), reason);
  });

  test('leave no folder behind, even with a disk mounted in it', async () => {
    await using folder = await makeFolder();
    const disk = join(folder.path, 'temporary', 'disk');
    await mkdir(disk, { recursive: true });
    // Where this user may not mount, the folder alone goes.
    await promisify(execFile)('mount', ['-t', 'tmpfs', 'tmpfs', disk]).catch(() => undefined);
    await writeFile(join(disk, 'left'), '');
    removeFolder(join(folder.path, 'temporary'));
    assert.equal((await readdir(folder.path)).includes('temporary'), false);
  });
});
