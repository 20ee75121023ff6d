import assert from 'node:assert/strict';
import test from 'node:test';
import { ReferenceCache } from '../../../src/pull/cache/reference-cache.ts';
import { documentOf, HERE, OTHERS } from './repositories.ts';

test('a cache that is off keeps nothing', async () => {
  const cache = new ReferenceCache({ isOn: false, staleMs: 0 });
  const document = documentOf('{}');
  await cache.keepDocument(HERE, document);
  cache.confirm(HERE, '1', document.digest, true);
  assert.equal(await cache.document(HERE, document.digest), undefined);
  assert.equal(cache.digestOf(HERE, '1'), undefined);
});

test('only what the registry resolved without credentials is served without the registry', async () => {
  const cache = new ReferenceCache({ isOn: true, staleMs: 60_000 });
  const document = documentOf('{}');
  await cache.keepDocument(HERE, document);
  cache.confirm(HERE, '1', document.digest, false);
  assert.equal(cache.digestOf(HERE, '1'), document.digest);
  assert.equal(await cache.stale(HERE, '1'), undefined);

  cache.confirm(HERE, '1', document.digest, true);
  assert.equal((await cache.stale(HERE, '1'))?.document.content, document.content);
  // A client with credentials resolves it, too: it stays public.
  cache.confirm(HERE, '1', document.digest, false);
  assert.equal((await cache.stale(HERE, '1'))?.document.content, document.content);
  // What only a client with credentials has resolved is not public.
  const secret = documentOf('{"secret":true}');
  await cache.keepDocument(HERE, secret);
  cache.confirm(HERE, '1', secret.digest, false);
  assert.equal(await cache.stale(HERE, '1'), undefined);
  for (const other of OTHERS) assert.equal(await cache.stale(other, '1'), undefined);
});

test('nothing is served without the registry if that is not configured, or too old, or from the future', async () => {
  const document = documentOf('{}');
  const key = `${HERE.origin} ${HERE.name} 1`;
  for (const [staleMs, resolvedAt] of [
    [0, Date.now()],
    [60_000, Date.now() - 61_000],
    // The clock was set back, or the note is damaged.
    [60_000, Date.now() + 61_000],
    [60_000, Number.MAX_VALUE],
    [60_000, Number.POSITIVE_INFINITY],
  ] as const) {
    const stored = [[key, { digest: document.digest, resolvedAt }]] as const;
    const cache = new ReferenceCache({ isOn: true, staleMs, stored });
    await cache.keepDocument(HERE, document);
    assert.equal(cache.digestOf(HERE, '1'), document.digest);
    assert.equal(await cache.stale(HERE, '1'), undefined);
  }
});

test('what is forgotten is not served without the registry', async () => {
  const document = documentOf('{}');
  const remember = () => {
    const cache = new ReferenceCache({ isOn: true, staleMs: 60_000 });
    for (const where of [HERE, ...OTHERS]) {
      cache.keepDocument(where, document);
      for (const name of ['1', '2']) cache.confirm(where, name, document.digest, true);
    }
    const isServed = async (where: typeof HERE, name: string) =>
      (await cache.stale(where, name)) !== undefined;
    return { cache, isServed };
  };
  for (const [forgotten, second] of [
    ['1', true],
    [undefined, false],
  ] as const) {
    const { cache, isServed } = remember();
    cache.forget(HERE, forgotten);
    assert.deepEqual([await isServed(HERE, '1'), await isServed(HERE, '2')], [false, second]);
    for (const other of OTHERS) assert.ok((await isServed(other, '1')) && (await isServed(other, '2')));
    cache.confirm(HERE, '1', document.digest, true);
    assert.ok(await isServed(HERE, '1'));
    cache.forget(HERE, undefined);
    assert.deepEqual([await isServed(HERE, '1'), await isServed(HERE, '2')], [false, false]);
  }
});
