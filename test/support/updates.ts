/** Images that have layers in common, and what an update archive must hold of them. */

import assert from 'node:assert/strict';
import { layerOf } from './cached.ts';
import { type BuiltImage, makeImage, makeIndex, type Platform, type Pushable } from './image.ts';
import { type Pair, type PairOptions, startPair } from './pair.ts';
import { filesOf, hexOf, imagesOf } from './reading.ts';
import type { Reply } from './service.ts';

const [OS, RUNTIME, CODE, OTHER] = ['os', 'runtime', 'code', 'other'].map((name) => layerOf(name));
const layers = { OS, RUNTIME, CODE, OTHER };

function image(names: readonly (keyof typeof layers)[], options: { platform?: Platform; env?: string } = {}) {
  const { platform, env = names.join() } = options;
  return makeImage({
    layers: names.flatMap((name) => layers[name] ?? []),
    config: { config: { Env: [`LAYERS=${env}`] } },
    ...(platform && { platform }),
  });
}

/** What is loaded already: `team/app:1`. */
export const BASE = image(['OS', 'RUNTIME']);
/** One layer more: `team/app:2`. */
export const NEXT = image(['OS', 'RUNTIME', 'CODE']);
/** The second layer of the base is not the second one here: `team/app:moved`. */
export const MOVED = image(['OS', 'OTHER', 'RUNTIME']);
/** The lowest layer once more on top: `team/app:twice`. */
export const TWICE = image(['OS', 'RUNTIME', 'CODE', 'OS']);
/** The layers of the base with other settings: `team/app:settings`. */
export const SETTINGS = image(['OS', 'RUNTIME'], { env: 'other' });
/** Nothing in common: `org/other:1`. */
export const UNRELATED = image(['OTHER']);
/** The diff IDs of the base, in blobs of another compression: `team/app:zstd`. */
export const ZSTD = makeImage({
  layers: [OS, RUNTIME, CODE].flatMap((layer) =>
    layer === undefined ? [] : { ...layer, compression: 'zstd' as const },
  ),
});
const ARM = { os: 'linux', architecture: 'arm64' };
/** For two platforms, each with a base of its own: `team/multi:1` and `team/multi:2`. */
export const MULTI_BASES = [BASE, image(['OTHER'], { platform: ARM })] as const;
export const MULTI_NEXT = [NEXT, image(['OTHER', 'CODE'], { platform: ARM })] as const;

/** All images by repository and tag. */
export const PUSHED: readonly (readonly [repository: string, tag: string, image: Pushable])[] = [
  ['team/app', '1', BASE],
  ['team/app', '2', NEXT],
  ['team/app', 'moved', MOVED],
  ['team/app', 'twice', TWICE],
  ['team/app', 'settings', SETTINGS],
  ['team/app', 'zstd', ZSTD],
  ['org/other', '1', UNRELATED],
  ['team/multi', '1', makeIndex(MULTI_BASES.map((one) => ({ image: one })))],
  ['team/multi', '2', makeIndex(MULTI_NEXT.map((one) => ({ image: one })))],
];

/** Starts a registry with all images, and a service for it. */
export function startUpdates(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => {
    for (const [repository, tag, one] of PUSHED) registry.push(repository, tag, one);
  });
}

/** The layouts, and the layers that each leaves out: from the bottom up, or all that both have. */
export const LAYOUTS = ['docker', 'docker-gzip', 'oci'] as const;

/** Checks that an update has all files of the whole archive, with the same bytes, but for those of the layers with these indexes. */
export function assertLeftOut(
  update: Pick<Reply, 'body'>,
  whole: Pick<Reply, 'body'>,
  indexes: readonly number[],
): void {
  const names = imagesOf(whole)[0]?.Layers ?? assert.fail('there is no image');
  // A layer that occurs twice has one file where files are named by digests.
  const kept = new Set(names.filter((_, index) => !indexes.includes(index)));
  const leftOut = new Set(indexes.map((index) => names[index] ?? assert.fail(`there is no layer ${index}`)));
  const files = new Map(filesOf(whole));
  for (const name of leftOut.difference(kept)) {
    assert.ok(files.delete(name), name);
    if (!name.endsWith('/layer.tar')) continue;
    for (const beside of ['VERSION', 'json']) files.delete(name.replace(/layer\.tar$/, beside));
  }
  assert.deepEqual(filesOf(update), files);
}

/** The GETs of blobs that a registry has answered, as digests. */
export function fetchedBlobs({ registry }: Pair): ReadonlySet<string> {
  const lines = registry.requests.filter(({ method }) => method === 'GET').map(({ path }) => path);
  return new Set(lines.flatMap((path) => /\/blobs\/(sha256:[0-9a-f]{64})/.exec(path)?.[1] ?? []));
}

/** `sha256=…` of a manifest, as a base is written in a path. */
export function asTag({ manifest: { digest } }: BuiltImage): string {
  return `sha256=${hexOf(digest)}`;
}
