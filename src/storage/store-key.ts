import { createHash } from 'node:crypto';

/** Names what a file holds: equal keys mean equal content. */
export type StoreKey = string | DerivedKey;

/** The key of a file that can be made again from another one. Eviction prefers it while that other one is stored. */
export interface DerivedKey {
  readonly key: string;
  /** The key of the other file. It belongs to the key: a file has one source. */
  readonly from: string;
}

/** Stands between the parts of a name. */
const SEPARATOR = '-';

/** Names of files in a store: a SHA-256, and that of the source. */
export const FILE_NAME = /^[0-9a-f]{64}(?:-[0-9a-f]{64})?$/;

/** The name of a key's file. Keys may contain any character. */
export function nameOf(key: StoreKey): string {
  return typeof key === 'string' ? hashOf(key) : `${hashOf(key.key)}${SEPARATOR}${hashOf(key.from)}`;
}

/** The text of a key, without that of its source. */
export function textOf(key: StoreKey): string {
  return typeof key === 'string' ? key : key.key;
}

/** The name of the file that a file can be made from; `undefined` for one that has no source. */
export function sourceOf(name: string): string | undefined {
  return name.split(SEPARATOR, 2)[1];
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
