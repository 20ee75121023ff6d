import assert from 'node:assert/strict';
import test from 'node:test';
import { ManifestCache } from '../../../src/pull/cache/manifest-cache.ts';
import { contentOfBytes, MAX_SMALL_BYTES } from '../../../src/util/content.ts';
import { documentOf, HERE, OTHERS } from './repositories.ts';

test('a document is cached for the repository that served it, and for no other', () => {
  const cache = new ManifestCache();
  const document = documentOf('{}');
  cache.set(HERE, document);
  assert.equal(cache.get(HERE, document.digest)?.content, document.content);
  for (const other of OTHERS) assert.equal(cache.get(other, document.digest), undefined);
});

test('the document that was used least recently is evicted first', () => {
  const [first, second, third] = ['one', 'two', 'six'].map((text) => documentOf(text.repeat(100)));
  assert.ok(first && second && third);
  const cache = new ManifestCache(2 * 1000);
  for (const document of [first, second]) cache.set(HERE, document);
  cache.get(HERE, first.digest);
  cache.set(HERE, third);
  const isCached = [first, second, third].map(({ digest }) => cache.get(HERE, digest) !== undefined);
  assert.deepEqual(isCached, [true, false, true]);
});

test('a document that is too large, or cached twice, evicts no other', () => {
  const cache = new ManifestCache(2000);
  const small = documentOf('small');
  cache.set(HERE, small);
  cache.set(HERE, documentOf('x'.repeat(5000)));
  for (let times = 0; times < 10; times += 1) cache.set(HERE, small);
  const another = documentOf('another');
  cache.set(HERE, another);
  for (const { digest } of [small, another]) assert.ok(cache.get(HERE, digest));
});

test('of a large document only where it is counts: its bytes lie in a file', () => {
  const cache = new ManifestCache(2000);
  const bytes = Buffer.alloc(MAX_SMALL_BYTES + 1);
  const { digest } = documentOf('large');
  const content = { ...contentOfBytes(bytes), bytes: undefined };
  cache.set(HERE, { digest, content, contentType: 'text/plain' });
  assert.deepEqual(cache.get(HERE, digest), { content: undefined, contentType: 'text/plain' });
  cache.delete(HERE, digest);
  assert.equal(cache.get(HERE, digest), undefined);
});
