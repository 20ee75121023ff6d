import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openNotifier } from '../../../src/cli/systemd/notify.ts';
import { ownFolder } from '../../support/leave-nothing.ts';
import { memoryLogger } from '../../support/tls-server.ts';

/** A program of the name that is called; it writes its arguments and its environment. */
async function fakeProgram(lines: readonly string[]): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'notify-'));
  ownFolder(path);
  const file = join(path, 'systemd-notify');
  await writeFile(file, ['#!/bin/sh', ...lines, ''].join('\n'));
  await chmod(file, 0o755);
  return path;
}

describe('the service manager', () => {
  test('gets each message by its own program, which knows nothing else', async () => {
    const path = await fakeProgram([`echo "$@" >> "\${0%/*}/calls"`, `env >> "\${0%/*}/calls"`]);
    const environment = {
      NOTIFY_SOCKET: '/run/notify',
      PATH: `${path}:/usr/bin:/bin`,
      REGISTRY_PASSWORD: 'hunter2',
    };
    const { log, logger } = memoryLogger();
    const notifier = openNotifier(environment, logger);
    await notifier.notify('READY=1', 'STATUS=x y');
    const calls = await readFile(join(path, 'calls'), 'utf8');
    assert.match(calls, /^READY=1 STATUS=x y\n/);
    assert.match(calls, /^NOTIFY_SOCKET=\/run\/notify$/m);
    assert.doesNotMatch(calls, /hunter2/);
    assert.equal('NOTIFY_SOCKET' in environment, false);
    assert.deepEqual(log.events, []);
  });

  test('is told nothing without NOTIFY_SOCKET', async () => {
    const path = await fakeProgram([`touch "\${0%/*}/calls"`]);
    for (const environment of [{ PATH: path }, { PATH: path, NOTIFY_SOCKET: '' }]) {
      await openNotifier(environment, memoryLogger().logger).notify('READY=1');
    }
    await assert.rejects(readFile(join(path, 'calls')), { code: 'ENOENT' });
  });

  for (const [what, lines, why] of [
    ['is missing', undefined, /fails \(ENOENT\)/],
    ['fails', ['exit 1'], /fails \(Command failed: systemd-notify READY=1\)\. A unit/],
  ] as const) {
    test(`a program that ${what} is a line in the log, and no failure`, async () => {
      const PATH = lines === undefined ? '/nowhere' : await fakeProgram(lines);
      const { log, logger } = memoryLogger();
      await openNotifier({ NOTIFY_SOCKET: '/run/notify', PATH }, logger).notify('READY=1');
      const { message } = await log.waitFor({ event: 'notify', level: 'warn' });
      assert.match(String(message), /^Cannot tell the service manager READY=1: systemd-notify fails/);
      assert.match(String(message), why);
    });
  }
});
