import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type FileReport, WatchedFiles } from '../../../src/util/files/watched-files.ts';

/** A folder that ends with the test, and files in it that are in use. */
async function openFolder() {
  const path = await mkdtemp(join(tmpdir(), 'watched-'));
  const files = new WatchedFiles();
  const reports: FileReport[] = [];
  files.report = (report) => void reports.push(report);
  const parse = (text: string) => {
    if (text.startsWith('bad')) throw new Error('it is bad');
    return text.trim();
  };
  return {
    path,
    files,
    reports,
    at: (name: string) => join(path, name),
    write: async (name: string, content: string | Uint8Array) => {
      await mkdir(join(path, name, '..'), { recursive: true });
      await writeFile(join(path, name), content);
    },
    use: (name: string) => files.add({ name: 'SECRET_FILE', path: join(path, name), maxBytes: 100, parse }),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

type Folder = Awaited<ReturnType<typeof openFolder>>;

/** Times long ago, so that the files do not count as modified just now. */
async function age(path: string, seconds: number): Promise<void> {
  await utimes(path, 1_700_000_000 + seconds, 1_700_000_000 + seconds);
}

describe('a file that cannot be used is refused at the start', () => {
  const faults: readonly [reason: string, make: (folder: Folder) => Promise<unknown>][] = [
    ['it does not exist', async () => undefined],
    ['it is a folder', ({ at }) => mkdir(at('secret'))],
    ['it is no regular file', ({ at }) => promisify(execFile)('mkfifo', [at('secret')])],
    ['it has more than 100 bytes', ({ write }) => write('secret', 'x'.repeat(101))],
    ['it is binary, and a text is expected', ({ write }) => write('secret', 'hunter2\0')],
    ['it is not UTF-8', ({ write }) => write('secret', Buffer.from([0x68, 0xff]))],
    ['it is bad', ({ write }) => write('secret', 'bad hunter2')],
    ['its symbolic links lead in a circle', ({ at }) => symlink('secret', at('secret'))],
  ];
  for (const [reason, make] of faults) {
    test(reason, async () => {
      await using folder = await openFolder();
      await make(folder);
      assert.throws(() => folder.use('secret'), {
        code: 'INVALID_CONFIGURATION',
        message: `Cannot use SECRET_FILE="${folder.at('secret')}": ${reason}`,
      });
    });
  }
});

describe('a change is noticed', () => {
  const changes: readonly [what: string, change: (folder: Folder) => Promise<unknown>][] = [
    ['in place', ({ write }) => write('secret', 'new')],
    [
      'by a renamed file',
      async ({ write, at }) => {
        await write('other', 'new');
        await rename(at('other'), at('secret'));
      },
    ],
    [
      'by a renamed file of the same size and time',
      async ({ write, at }) => {
        await write('other', 'new');
        await age(at('other'), 0);
        await rename(at('other'), at('secret'));
      },
    ],
  ];
  for (const [what, change] of changes) {
    test(what, async () => {
      await using folder = await openFolder();
      await folder.write('secret', 'old');
      await age(folder.at('secret'), 0);
      const secret = folder.use('secret');
      await folder.files.refresh(true);
      assert.deepEqual([secret.value, folder.reports], ['old', []]);
      await change(folder);
      await folder.files.refresh(true);
      assert.equal(secret.value, 'new');
      assert.deepEqual(folder.reports, [{ name: 'SECRET_FILE', result: 'reloaded', wasRejected: false }]);
    });
  }

  test('by a swapped link, as Kubernetes does it, for all files at once', async () => {
    await using folder = await openFolder();
    const publish = async (version: string) => {
      await folder.write(`..${version}/user`, `${version} user\n`);
      await folder.write(`..${version}/password`, `${version} password\n`);
      await symlink(`..${version}`, folder.at('..data_tmp'));
      await rename(folder.at('..data_tmp'), folder.at('..data'));
    };
    await publish('1');
    for (const name of ['user', 'password']) await symlink(`..data/${name}`, folder.at(name));
    const [user, password] = [folder.use('user'), folder.use('password')];
    await publish('2');
    await rm(folder.at('..1'), { recursive: true });
    await folder.files.refresh(true);
    assert.deepEqual([user.value, password.value], ['2 user', '2 password']);
  });

  test('within the same tick of the clock', async () => {
    await using folder = await openFolder();
    await folder.write('secret', 'old');
    const secret = folder.use('secret');
    for (const text of ['one', 'two', 'tri', 'for', 'fiv']) {
      await folder.write('secret', text);
      await folder.files.refresh(true);
      assert.equal(secret.value, text);
    }
  });
});

test('content that cannot be used leaves the last in use, and is reported once, as is its end', async () => {
  await using folder = await openFolder();
  await folder.write('secret', 'old');
  const secret = folder.use('secret');
  const message = `Cannot use SECRET_FILE="${folder.at('secret')}": `;
  const rejected = { name: 'SECRET_FILE', result: 'rejected' } as const;
  await folder.write('secret', 'bad hunter2');
  for (let look = 0; look < 3; look += 1) await folder.files.refresh(true);
  await rm(folder.at('secret'));
  await folder.files.refresh(true);
  await folder.write('secret', 'old');
  await folder.files.refresh(true);
  assert.equal(secret.value, 'old');
  assert.deepEqual(folder.reports, [
    { ...rejected, message: `${message}it is bad`, wasRejected: false },
    { ...rejected, message: `${message}it does not exist`, wasRejected: true },
    { name: 'SECRET_FILE', result: 'reloaded', wasRejected: true },
  ]);
});

test('files are not looked at again at once, unless a registry has refused what they have', async (t) => {
  let now = 5_000;
  t.mock.method(performance, 'now', () => now);
  await using folder = await openFolder();
  await folder.write('secret', 'old');
  const secret = folder.use('secret');
  await folder.files.refresh();
  await folder.write('secret', 'new');
  now += 999;
  await folder.files.refresh();
  assert.equal(secret.value, 'old');
  await Promise.all([folder.files.refresh(true), folder.files.refresh(true), folder.files.refresh()]);
  assert.equal(secret.value, 'new');
  assert.equal(folder.reports.length, 1);
});
