/** Something that is no file stands where a stored file was. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { StoreFolder } from '../../src/storage/folder.ts';
import { Store } from '../../src/storage/store.ts';
import { readAll } from '../support/collect.ts';
import { within } from '../support/within.ts';
import { makeFolder } from './folder.ts';

const NEVER = new AbortController().signal;
const run = promisify(execFile);

const KINDS: Readonly<Record<string, (path: string) => Promise<unknown>>> = {
  'a folder': (path) => mkdir(path),
  'a folder with content': async (path) => {
    await mkdir(join(path, 'in', 'it'), { recursive: true });
    await writeFile(join(path, 'in', 'file'), 'text');
  },
  'a FIFO': (path) => run('mkfifo', [path]),
  'a socket': async (path) => {
    const server = createServer().listen(path);
    await once(server, 'listening');
    server.unref();
  },
  'a device': (path) => run('mknod', [path, 'c', '1', '5']).catch(() => run('mkfifo', [path])),
  'a symbolic link to a folder': (path) => symlink('/', path),
  'a symbolic link to a file': (path) => symlink('/etc/passwd', path),
  'a symbolic link to itself': (path) => symlink(path, path),
  'an empty file': (path) => writeFile(path, ''),
  'a file that nothing may read': async (path) => {
    await writeFile(path, '');
    await chmod(path, 0);
  },
};

async function obtain(store: Store, text: string): Promise<string> {
  const file = await store.obtain('key', {
    signal: NEVER,
    produce: async (draft) => {
      await draft.write(Buffer.from(text));
      return {};
    },
  });
  try {
    return (await readAll(file.read())).toString();
  } finally {
    file.release();
  }
}

for (const [kind, put] of Object.entries(KINDS)) {
  describe(`${kind} in the place of a stored file is removed, and the file is stored again`, () => {
    for (const when of ['before the start', 'after the start', 'while the file is made'] as const) {
      test(when, async () => {
        await using place = await makeFolder();
        const damaged: string[] = [];
        const open = async () =>
          await Store.open({
            folder: await StoreFolder.openKept(place.path),
            maxBytes: 1e9,
            onDamage: (name) => damaged.push(name),
          });
        const before = await open();
        await obtain(before, 'first');
        await before.close();
        const [name = ''] = await readdir(join(place.path, 'prepared'));
        const path = join(place.path, 'prepared', name);
        const replace = async () => {
          await rm(path);
          await put(path);
        };

        if (when === 'before the start') await replace();
        if (when === 'while the file is made') await rm(path);
        const store = await open();
        if (when === 'after the start') await replace();
        if (when === 'while the file is made') await put(path);
        assert.equal(await within(obtain(store, 'again'), 'the file'), 'again');
        if (when === 'after the start') assert.deepEqual(damaged, [name]);
        await store.close();

        const after = await open();
        assert.equal(await within(obtain(after, 'lost'), 'the file'), 'again');
        await after.close();
      });
    }
  });
}
