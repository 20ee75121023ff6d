/** Where a service listens: ports, a Unix socket, sockets of its parent. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, lstat, mkdir, mkdtemp, readdir, rename, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Peer } from '../../../src/http/connections/peer.ts';
import { request } from '../../support/http-request.ts';
import { answerOk, startServer } from '../../support/http-server.ts';
import { ownFolder, ownProcess } from '../../support/leave-nothing.ts';
import { START_LIMIT_MS, within } from '../../support/within.ts';

const MODE = 0o660;

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'socket-'));
  ownFolder(path);
  return path;
}

/** A socket that was left by a process that has been killed. */
async function leftSocket(path: string): Promise<void> {
  const code = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  const child: ChildProcess = spawn(process.execPath, ['-e', code, path], { stdio: 'ignore' });
  ownProcess(child);
  await within(once(child, 'exit'), 'the end of a process', START_LIMIT_MS);
  assert.ok((await lstat(path)).isSocket());
}

/** Number of ports on which this process listens. */
async function openPorts(): Promise<number> {
  // A closed one counts to the end of its turn of the event loop.
  for (let turn = 0; turn < 2; turn += 1) await nextTurn();
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap').length;
}

describe('a Unix socket', () => {
  test('answers beside the port, has its mode, and is removed at the end', async () => {
    const path = join(await folder(), 'http.sock');
    const peers: Peer[] = [];
    {
      await using server = await startServer(
        async (_, response, __, peer) => {
          peers.push(peer);
          response.end('ok');
        },
        { unix: { path, mode: MODE } },
      );
      assert.equal((await request(0, '/', { socketPath: path })).status, 200);
      assert.equal((await request(server.port, '/')).status, 200);
      assert.equal((await lstat(path)).mode & 0o777, MODE);
      assert.deepEqual(await readdir(join(path, '..')), ['http.sock'], 'no other name is left');
    }
    assert.deepEqual(
      peers.map(({ entrance, address }) => [entrance, address]),
      [
        ['unix', 'unix'],
        ['http', '127.0.0.1'],
      ],
    );
    await assert.rejects(lstat(path), { code: 'ENOENT' });
  });

  test('has its mode whatever the umask is', async () => {
    const path = join(await folder(), 'http.sock');
    const before = process.umask(0o777);
    try {
      await using _ = await startServer(answerOk, { unix: { path, mode: 0o606 } });
      assert.equal((await lstat(path)).mode & 0o777, 0o606);
    } finally {
      process.umask(before);
    }
  });

  test('takes the place of one on which no process listens', async () => {
    const path = join(await folder(), 'http.sock');
    await leftSocket(path);
    await using _ = await startServer(answerOk, { unix: { path, mode: MODE } });
    assert.equal((await request(0, '/', { socketPath: path })).status, 200);
  });

  test('that another process has put in its place is not removed', async () => {
    const path = join(await folder(), 'http.sock');
    const other = createServer();
    {
      await using _ = await startServer(answerOk, { unix: { path, mode: MODE } });
      other.listen(`${path}.other`);
      await once(other, 'listening');
      await rename(`${path}.other`, path);
    }
    assert.ok((await lstat(path)).isSocket());
    other.close();
  });

  const refused: readonly [what: string, prepare: (path: string) => Promise<unknown>, why: RegExp][] = [
    ['a file', (path) => writeFile(path, 'mine'), /there is a file of this name, which is no socket$/],
    ['a folder', (path) => mkdir(path), /which is no socket$/],
    ['a link', (path) => symlink('/dev/null', path), /which is no socket$/],
  ];
  for (const [what, prepare, why] of refused) {
    test(`does not take the place of ${what}`, async () => {
      const path = join(await folder(), 'http.sock');
      await prepare(path);
      const kept = await lstat(path);
      await assert.rejects(startServer(answerOk, { unix: { path, mode: MODE } }), (error: Error) => {
        assert.ok(error.message.startsWith(`Cannot use HTTP_SOCKET="${path}": `), error.message);
        assert.match(error.message, why);
        return true;
      });
      assert.equal((await lstat(path)).ino, kept.ino);
    });
  }

  test('does not take the place of one on which a process listens, and closes the port that was open', async () => {
    const path = join(await folder(), 'http.sock');
    await using first = await startServer(answerOk, { unix: { path, mode: MODE } });
    const before = await openPorts();
    await assert.rejects(
      startServer(answerOk, { unix: { path, mode: MODE } }),
      /Cannot use HTTP_SOCKET=.*: another process listens on it$/,
    );
    assert.equal(await openPorts(), before);
    assert.equal((await request(first.port, '/')).status, 200);
    assert.equal((await request(0, '/', { socketPath: path })).status, 200);
  });

  test('needs its folder', async () => {
    const path = join(await folder(), 'missing', 'http.sock');
    await assert.rejects(
      startServer(answerOk, { unix: { path, mode: MODE } }),
      /its folder does not exist \(ENOENT\)$/,
    );
  });

  test('needs a folder that the process may write', async () => {
    const path = await folder();
    await chmod(path, 0o500);
    using _ = asNobody();
    await assert.rejects(
      startServer(answerOk, { unix: { path: join(path, 'http.sock'), mode: MODE } }),
      /no permission to make it \(EACCES\)$/,
    );
  });
});

/** Root may write everywhere, so this process is another user until the result is disposed of. */
function asNobody(): Disposable {
  const NOBODY = 65_534;
  const isRoot = process.getuid?.() === 0;
  if (isRoot) process.seteuid?.(NOBODY);
  return {
    [Symbol.dispose]: () => {
      if (isRoot) process.seteuid?.(0);
    },
  };
}

describe('a passed descriptor that is no listening stream socket is refused', () => {
  test('a file', async () => {
    await assert.rejects(
      startServer(answerOk, { passed: [{ fd: 0, isTls: false }] }),
      /^PassthroughError: Cannot use the passed socket 0: it is no listening stream socket \(\w+\); a unit needs Accept=no$/,
    );
  });

  test('none', async () => {
    await assert.rejects(startServer(answerOk, { passed: [{ fd: 9999, isTls: false }] }), {
      code: 'INVALID_CONFIGURATION',
    });
  });
});
