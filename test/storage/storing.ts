/** A store in a folder of its own, and the files that tests put into it. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StoreFolder } from '../../src/storage/folder.ts';
import { type ObtainOptions, Store, type Stored } from '../../src/storage/store.ts';
import { readAll } from '../support/collect.ts';
import { openFilesIn } from '../support/service.ts';
import { makeFolder, patternOf } from './folder.ts';

/** The signal of a caller that does not leave. */
export const NEVER = new AbortController().signal;

/** More bytes than any test stores. */
const MUCH = 2 ** 40;

type Produce = ObtainOptions<string>['produce'];

/** Options of {@link openStoring}. */
export interface StoringOptions {
  readonly maxBytes?: number;
  /** Folder of the store, or parent of a temporary one; a folder of its own unless given. */
  readonly directory?: string;
  /** Whether the folder is removed with the store. */
  readonly isTemporary?: boolean;
}

/** A production of these bytes. */
export function making(bytes: Uint8Array | string): Produce {
  return async (draft) => {
    await draft.write(Buffer.from(bytes));
    return { kind: 'test' };
  };
}

/** A production that must not run. */
export const mustNotProduce: Produce = () => assert.fail('the file was produced');

/** The content of a key's file, unless a test gives another. */
export function contentOf(key: string, bytes = 1000): Buffer {
  return Buffer.concat([Buffer.from(`${key}:`), patternOf(bytes)]).subarray(0, bytes);
}

/** A production that writes bytes, and ends by hand. */
export function byHand(bytes: Uint8Array | string) {
  const begun = Promise.withResolvers<AbortSignal>();
  const going = Promise.withResolvers<void>();
  const produce: Produce = async (draft, signal, report) => {
    await draft.write(Buffer.from(bytes));
    report('written');
    begun.resolve(signal);
    await going.promise;
    return { kind: 'test' };
  };
  return { produce, begun: begun.promise, goOn: going.resolve, fail: going.reject };
}

/** Opens a store; for `await using`. */
export async function openStoring({ maxBytes = MUCH, directory, isTemporary = false }: StoringOptions = {}) {
  const place = directory === undefined ? await makeFolder() : undefined;
  const parent = directory ?? place?.path ?? '';
  const damaged: string[] = [];
  const openStore = async (most = maxBytes) => {
    const folder = await StoreFolder[isTemporary ? 'makeTemporary' : 'openKept'](parent);
    const store = await Store.open<string>({
      folder,
      maxBytes: most,
      onDamage: (name) => damaged.push(name),
    });
    return { folder, store };
  };
  let { folder, store } = await openStore();
  const path = isTemporary ? join(parent, ...(await readdir(parent))) : parent;
  return {
    path,
    get folder() {
      return folder;
    },
    damaged,
    get store() {
      return store;
    },
    /** Closes the store and opens another one on the same folder. */
    async reopen(most = maxBytes): Promise<void> {
      await store.close();
      ({ folder, store } = await openStore(most));
    },
    /** Obtains a file, of so many bytes where it has to be produced. */
    obtain: (key: string, bytes = 1000, produce: Produce = making(contentOf(key, bytes))) =>
      store.obtain(key, { signal: NEVER, produce }),
    /** Obtains a file that is stored, or is being produced. */
    stored: (key: string) => store.obtain(key, { signal: NEVER, produce: mustNotProduce }),
    /** Obtains and releases a file, and returns its source. */
    async sourceOf(key: string, bytes = 1000, produce: Produce = making(contentOf(key, bytes))) {
      const { source, release } = await store.obtain(key, { signal: NEVER, produce });
      release();
      return source;
    },
    /** Names in the parent of a temporary folder. */
    inParent: () => readdir(parent),
    /** Path of the file of a key. */
    pathOf: (key: string) => join(path, 'prepared', nameOf(key)),
    /** The disk after all removals: complete files by their keys, and the number of partial ones. */
    async onDisk(...keys: readonly string[]): Promise<{ prepared: string[]; incoming: number }> {
      await store.settled();
      const names = await readdir(join(path, 'prepared'));
      const prepared = keys.filter((key) => names.includes(nameOf(key)));
      assert.equal(names.length, prepared.length, 'there are files of other keys');
      return { prepared, incoming: (await readdir(join(path, 'incoming'))).length };
    },
    /** Bytes of the complete files on the disk. */
    async bytesOnDisk(): Promise<number> {
      await store.settled();
      const names = await readdir(join(path, 'prepared'));
      const sizes = await Promise.all(
        names.map(async (name) => (await stat(join(path, 'prepared', name))).size),
      );
      return sizes.reduce((sum, size) => sum + size, 0);
    },
    /** Number of open files after all removals. */
    async openFiles(): Promise<number> {
      await store.settled();
      return await openFilesIn(path);
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await store.close();
      await place?.[Symbol.asyncDispose]();
    },
  };
}

/** The name of the file of a key. */
export function nameOf(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

/** Checks the content of a file, and releases it. */
export async function assertHolds(file: Stored, bytes: Uint8Array | string): Promise<void> {
  assert.ok((await readAll(file.read())).equals(Buffer.from(bytes)), 'the file holds other bytes');
  file.release();
}
