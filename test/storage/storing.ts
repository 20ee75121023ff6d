/** A store in a folder of its own, and what it is made to hold. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StoreFolder } from '../../src/storage/folder.ts';
import { type ObtainOptions, Store, type Stored } from '../../src/storage/store.ts';
import { readAll } from '../support/collect.ts';
import { openFilesIn } from '../support/service.ts';
import { makeFolder, patternOf } from './folder.ts';

/** Nobody leaves. */
export const NEVER = new AbortController().signal;

/** Bytes that no test's limit reaches. */
const MUCH = 2 ** 40;

type Produce = ObtainOptions<string>['produce'];

/** What may differ in a store. */
export interface StoringOptions {
  readonly maxBytes?: number;
  /** Where it lies: a folder of its own unless said. */
  readonly directory?: string;
  /** Whether the folder is removed with the store. */
  readonly isTemporary?: boolean;
}

/** Makes a file of these bytes. */
export function making(bytes: Uint8Array | string): Produce {
  return async (draft) => {
    await draft.write(Buffer.from(bytes));
    return { kind: 'test' };
  };
}

/** A production that must not be. */
export const unasked: Produce = () => assert.fail('the file was made');

/** What a file of this key is made to hold in these tests, unless they say something else. */
export function contentOf(key: string, bytes = 1000): Buffer {
  return Buffer.concat([Buffer.from(`${key}:`), patternOf(bytes)]).subarray(0, bytes);
}

/** A production that begins, and goes on when it is told. */
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

/** A store, the folder that it lies in, and what it has said; for `await using`. */
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
    /** Obtains a file, of so many bytes where it has to be made. */
    obtain: (key: string, bytes = 1000, produce: Produce = making(contentOf(key, bytes))) =>
      store.obtain(key, { signal: NEVER, produce }),
    /** Obtains a file, gives it up, and returns how it was had. */
    async sourceOf(key: string, bytes = 1000, produce: Produce = making(contentOf(key, bytes))) {
      const { source, release } = await store.obtain(key, { signal: NEVER, produce });
      release();
      return source;
    },
    /** Where the file of a key lies. */
    pathOf: (key: string) => join(path, 'prepared', nameOf(key)),
    /** What lies on the disk, once nothing is under way: complete files by their keys, and how many are not. */
    async onDisk(...keys: readonly string[]): Promise<{ prepared: string[]; incoming: number }> {
      await store.settled();
      const names = await readdir(join(path, 'prepared'));
      const prepared = keys.filter((key) => names.includes(nameOf(key)));
      assert.equal(names.length, prepared.length, 'there are files of other keys');
      return { prepared, incoming: (await readdir(join(path, 'incoming'))).length };
    },
    /** Bytes of the complete files, as the disk has them. */
    async bytesOnDisk(): Promise<number> {
      await store.settled();
      const names = await readdir(join(path, 'prepared'));
      const sizes = await Promise.all(
        names.map(async (name) => (await stat(join(path, 'prepared', name))).size),
      );
      return sizes.reduce((sum, size) => sum + size, 0);
    },
    /** Files that are open, once nothing is under way. */
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

/** Checks that a file holds what it should, and gives it up. */
export async function assertHolds(file: Stored, bytes: Uint8Array | string): Promise<void> {
  assert.ok((await readAll(file.read())).equals(Buffer.from(bytes)), 'the file holds other bytes');
  file.release();
}
