import assert from 'node:assert/strict';
import test from 'node:test';
import { parseDigest } from '../../../src/image/digest.ts';
import { KnownBlobs } from '../../../src/pull/cache/known-blobs.ts';
import { ManifestCache } from '../../../src/pull/cache/manifest-cache.ts';
import { ReferenceCache } from '../../../src/pull/cache/reference-cache.ts';
import { sha256 } from '../../support/collect.ts';

const HERE = { origin: 'https://a.example', name: 'team/app' };
const OTHERS = [
  { origin: 'https://b.example', name: 'team/app' },
  { origin: 'http://a.example', name: 'team/app' },
  { origin: 'https://a.example', name: 'team/other' },
];

function documentOf(text: string) {
  const bytes = Buffer.from(text);
  return { digest: parseDigest(sha256(bytes)), bytes, contentType: 'application/json' };
}

test('a document is there for the repository that gave it out, and for no other', () => {
  const memory = new ManifestCache();
  const document = documentOf('{}');
  memory.keep(HERE, document);
  assert.equal(memory.get(HERE, document.digest), document);
  for (const other of OTHERS) assert.equal(memory.get(other, document.digest), undefined);
});

test('documents that were used longest ago go when there is no room', () => {
  const [first, second, third] = ['one', 'two', 'six'].map((text) => documentOf(text.repeat(100)));
  assert.ok(first && second && third);
  const memory = new ManifestCache(2 * 900);
  for (const document of [first, second]) memory.keep(HERE, document);
  memory.get(HERE, first.digest);
  memory.keep(HERE, third);
  assert.deepEqual(
    [first, second, third].map(({ digest }) => memory.get(HERE, digest) !== undefined),
    [true, false, true],
  );
});

test('one that is too large, or kept twice, costs the others nothing', () => {
  const memory = new ManifestCache(2000);
  const small = documentOf('small');
  memory.keep(HERE, small);
  memory.keep(HERE, documentOf('x'.repeat(5000)));
  for (let times = 0; times < 10; times += 1) memory.keep(HERE, small);
  const another = documentOf('another');
  memory.keep(HERE, another);
  for (const { digest } of [small, another]) assert.ok(memory.get(HERE, digest));
});

test('what is turned off remembers nothing', () => {
  const memory = new ReferenceCache({ isOn: false, staleMs: 0 });
  const document = documentOf('{}');
  memory.keepDocument(HERE, document);
  memory.confirm(HERE, '1', document.digest, true);
  assert.equal(memory.document(HERE, document.digest), undefined);
  assert.equal(memory.reference(HERE, '1'), undefined);
});

test('only what was told to somebody without credentials may be told without the registry', async () => {
  const memory = new ReferenceCache({ isOn: true, staleMs: 60_000 });
  const document = documentOf('{}');
  memory.keepDocument(HERE, document);
  memory.confirm(HERE, '1', document.digest, false);
  assert.equal(memory.reference(HERE, '1')?.digest, document.digest);
  assert.equal(await memory.stale(HERE, '1'), undefined);

  memory.confirm(HERE, '1', document.digest, true);
  assert.equal((await memory.stale(HERE, '1'))?.document, document);
  // Somebody who shows credentials is told the same: it is no less public for that.
  memory.confirm(HERE, '1', document.digest, false);
  assert.equal((await memory.stale(HERE, '1'))?.document, document);
  // Told something else, nobody without credentials has been told that.
  const secret = documentOf('{"secret":true}');
  memory.keepDocument(HERE, secret);
  memory.confirm(HERE, '1', secret.digest, false);
  assert.equal(await memory.stale(HERE, '1'), undefined);
  for (const other of OTHERS) assert.equal(await memory.stale(other, '1'), undefined);
});

test('nothing is told without the registry where that is not configured, or too old', async () => {
  const document = documentOf('{}');
  const key = `${HERE.origin} ${HERE.name} 1`;
  for (const [staleMs, toldAt] of [
    [0, Date.now()],
    [60_000, Date.now() - 61_000],
  ] as const) {
    const memory = new ReferenceCache({ isOn: true, staleMs }, undefined, [
      [key, { digest: document.digest, toldAt }],
    ]);
    memory.keepDocument(HERE, document);
    assert.equal(memory.reference(HERE, '1')?.digest, document.digest);
    assert.equal(await memory.stale(HERE, '1'), undefined);
  }
});

test('what a repository has says nothing of another', () => {
  const contents = new KnownBlobs();
  const { digest } = documentOf('layer');
  contents.add(HERE, digest);
  assert.equal(contents.has(HERE, digest), true);
  for (const other of OTHERS) assert.equal(contents.has(other, digest), false);
});
