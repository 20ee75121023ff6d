/** What every answer with an archive must be, read with `tar` as a user would. */
import assert from 'node:assert/strict';
import { type Answer, curl, sizeOf } from './curl.ts';
import type { Published } from './images.ts';
import { run } from './parts.ts';

/** Names in an archive, in order. */
export async function namesIn(file: string): Promise<string[]> {
  return (await run('tar', ['-tf', file])).trim().split('\n');
}

/** One entry's content as text. */
export function entryOf(file: string, name: string): Promise<string> {
  return run('tar', ['-xOf', file, name]);
}

/** `manifest.json` of a docker archive. */
export interface ArchiveManifest {
  readonly Config: string;
  readonly RepoTags: readonly string[];
  readonly Layers: readonly string[];
}

/** The one image that a docker archive describes. */
export async function manifestOf(file: string): Promise<ArchiveManifest> {
  const manifests = JSON.parse(await entryOf(file, 'manifest.json')) as ArchiveManifest[];
  assert.equal(manifests.length, 1);
  const [manifest] = manifests;
  assert.ok(manifest);
  return manifest;
}

/** Checks an answer: status, headers, and that the body is the archive of the image that the registry holds. */
export async function assertArchive(answer: Answer, filename: string, image: Published): Promise<void> {
  const { status, headers, file } = answer;
  assert.equal(answer.exitCode, 0, answer.stderr);
  assert.equal(status, 200, await run('head', ['-c', '2000', file]));
  assert.equal(headers.get('content-type'), 'application/x-tar');
  assert.equal(headers.get('content-length'), String(await sizeOf(file)));
  assert.match(headers.get('content-disposition') ?? '', /^attachment; ?filename="?([^";]+)"?/);
  assert.ok(headers.get('content-disposition')?.includes(filename), 'Content-Disposition names the file');
  assert.equal(headers.get('docker-content-digest'), image.manifestDigest);
  assert.match(headers.get('etag') ?? '', /^"[^"]+"$/, 'a strong entity tag');

  const manifest = await manifestOf(file);
  assert.equal(manifest.Config, `${image.configDigest.replace('sha256:', '')}.json`);
  assert.equal(manifest.Layers.length, image.layers.length);
}

/** Fields that differ between two answers to the same request by their nature. */
const OF_THE_MOMENT = ['date', 'x-request-id', 'connection', 'keep-alive'];

function lasting(headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => !OF_THE_MOMENT.includes(name)));
}

/** Checks that HEAD gets the status and headers of the GET that gave `answer`. */
export async function assertHeadAgrees(
  directory: string,
  answer: Answer,
  url: string,
  ...args: readonly string[]
): Promise<void> {
  const head = await curl(directory, url, '-I', ...args);
  assert.equal(head.exitCode, 0, head.stderr);
  assert.equal(head.status, answer.status);
  assert.deepEqual(lasting(head.headers), lasting(answer.headers));
}
