import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test from 'node:test';
import { within } from '../support/within.ts';
import { MAIN, startProcess, temporaryFolder } from './binary.ts';

/** Enough for the start, and few enough for a handful of connections to use up. */
const LIMIT = 60;

test('a shortage of file descriptors leaves a line in the log, once', async () => {
  await using folder = await temporaryFolder();
  await using program = startProcess(
    '/bin/sh',
    ['-c', `ulimit -n ${LIMIT} && exec "$0" "$1" serve`, process.execPath, MAIN],
    { env: { HTTP_HOST: '127.0.0.1', HTTP_PORT: '0', WORKSPACE_DIR: folder.path }, cwd: folder.path },
  );
  const { port } = await program.waitForEvent('listening');
  const sockets: Socket[] = [];
  try {
    for (let count = 0; count < LIMIT; count += 1) {
      const socket = connect(Number(port), '127.0.0.1');
      // The system closes those that the process cannot take.
      socket.on('error', () => undefined);
      sockets.push(socket);
      await within(once(socket, 'connect'), 'a connection');
    }
    const { level, open, limit, message } = await program.waitForEvent('descriptors');
    assert.deepEqual([level, limit], ['warn', LIMIT]);
    assert.ok(Number(open) >= 0.95 * LIMIT, `${open} are open`);
    assert.match(String(message), /file descriptors/);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
  program.child.kill('SIGTERM');
  const { stdout } = await program.ended();
  assert.equal(stdout.match(/"event":"descriptors"/g)?.length, 1);
});
