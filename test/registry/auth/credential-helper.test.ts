import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { askHelper } from '../../../src/registry/auth/credential-helper.ts';
import { within } from '../../support/within.ts';
import { never, SHORT_MS } from '../support/scene.ts';
import { answering, makeAuthFolder } from './auth-files.ts';

/** Asks a helper with this script. */
async function ask(script: string, options: { signal?: AbortSignal; timeoutMs?: number } = {}) {
  await using folder = await makeAuthFolder();
  await folder.addHelper('test', script);
  return await askHelper('test', 'ghcr.io', {
    environment: folder.environment,
    signal: never(),
    ...options,
  });
}

const FAILURE = 'Cannot get credentials of "ghcr.io" from "docker-credential-test": ';

describe('the answer of a helper', () => {
  const rows: readonly [script: string, expected: unknown][] = [
    [answering('me', 'mine'), { username: 'me', password: 'mine' }],
    [answering('<token>', 'refresh'), { identityToken: 'refresh' }],
    [answering('', ''), undefined],
    [`echo 'a warning' >&2\n${answering('me', 'mine')}`, { username: 'me', password: 'mine' }],
    ['echo "credentials not found in native keychain"; exit 1\n', undefined],
    ['echo "error: Credentials not found" >&2; exit 1\n', undefined],
  ];
  for (const [script, expected] of rows) {
    test(script.split('\n')[0] ?? '', async () => assert.deepEqual(await ask(script), expected));
  }
});

describe('a helper that fails', () => {
  const rows: readonly [script: string, why: string][] = [
    [
      'echo "no access to the cloud" >&2; echo more >&2; exit 1\n',
      'it ended with code 1: no access to the cloud',
    ],
    ['printf "bad\\033[2J\\007" ; exit 3\n', 'it ended with code 3: bad\\u001b[2J\\u0007'],
    ['echo \'{"Username":"me","Secret":"secret-7Q"}\'; exit 1\n', 'it ended with code 1'],
    ['exit 1\n', 'it ended with code 1'],
    ['kill -9 $$\n', 'it ended with code null'],
    ['echo secret-7Q\n', 'its answer is not JSON'],
    ['echo \'"secret-7Q"\'\n', 'its answer has no Username and Secret'],
    ['echo \'{"Username":"secret-7Q"}\'\n', 'its answer has no Username and Secret'],
    [answering('a:secret-7Q', 'x'), 'its Username has a colon, at which Basic ends a user name'],
    ['head -c 100000 /dev/zero; sleep 9\n', 'it wrote more than 65536 bytes'],
  ];
  for (const [script, why] of rows) {
    test(why, async () => {
      const asking = within(ask(script), 'the end of the helper');
      await assert.rejects(asking, { code: 'INVALID_CONFIGURATION', message: FAILURE + why });
    });
  }

  test('is killed when it takes too long, also if a child of it holds its output', async () => {
    const asking = ask('sleep 9 & sleep 9\n', { timeoutMs: SHORT_MS });
    await assert.rejects(within(asking, 'the time limit'), {
      message: `${FAILURE}it did not end within ${SHORT_MS / 1000} s`,
    });
  });

  test('is killed with its children where no person is there', async () => {
    await using folder = await makeAuthFolder();
    const pipe = join(folder.path, 'pipe');
    await promisify(execFile)('mkfifo', [pipe]);
    await folder.addHelper('test', `sleep 60 >'${pipe}' & sleep 60\n`);
    const { environment } = folder;
    const stop = new AbortController();
    const asking = askHelper('test', 'ghcr.io', { environment, signal: stop.signal, isUnattended: true });
    // Opening the pipe waits for the child, reading it for the child's end.
    await using file = await within(open(pipe), 'the child');
    stop.abort();
    await assert.rejects(asking, { code: 'ABORTED' });
    await within(file.readFile(), 'the end of the child');
  });

  test('is killed when the call is aborted', async () => {
    const signal = AbortSignal.timeout(SHORT_MS);
    await assert.rejects(within(ask('sleep 9\n', { signal }), 'the abort'), { code: 'ABORTED' });
    await assert.rejects(ask(answering('me', 'mine'), { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  });
});

test('a program that is not there is told', async () => {
  await using folder = await makeAuthFolder();
  const { environment } = folder;
  assert.equal(await askHelper('none', 'ghcr.io', { environment, signal: never() }), 'missing');
});

test('a name that is a path, an option or a command is refused, and nothing is run', async () => {
  await using folder = await makeAuthFolder();
  await folder.addHelper('test', answering('me', 'mine'));
  const { environment } = folder;
  for (const name of [
    '',
    '.',
    '../test',
    'bin/test',
    '/bin/sh',
    '-x',
    'test;ls',
    'te st',
    'test\n',
    'te\0st',
    '..\\x',
  ]) {
    await assert.rejects(
      askHelper(name, 'ghcr.io', { environment, signal: never() }),
      { code: 'INVALID_CONFIGURATION', message: /^Cannot use credential helper "/ },
      name,
    );
  }
  assert.deepEqual(await folder.asked(), []);
});
