import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type ArchiveEntry, type ArchiveInput, planArchive } from '../../src/archive/archive.ts';
import { dockerLayout } from '../../src/archive/docker-layout.ts';
import { parseDigest } from '../../src/image/digest.ts';
import { encode, makeSample, type Sample } from './inputs.ts';

const digestOf = (digit: string) => parseDigest(`sha256:${digit.repeat(64)}`);
const MIB = 1024 ** 2;

/** Few enough values that two draws are often the same image. */
const sample: fc.Arbitrary<Sample> = fc
  .record({
    layers: fc.array(fc.constantFrom('', 'a', 'b', 'x'.repeat(512)), { maxLength: 2 }),
    tag: fc.constantFrom('1', '2', '0'.repeat(12), undefined),
    digest: fc.constantFrom(digestOf('0'), undefined),
    repository: fc.constantFrom('library/app', 'team/app'),
    registryName: fc.constantFrom('docker.io', 'ghcr.io'),
    config: fc.constantFrom({}, { author: 'a' }),
  })
  .map(({ layers, config, tag, digest, ...names }) =>
    makeSample({
      layers,
      config,
      // A field of its own that is undefined overrides, so that a digest may stand alone.
      reference: { ...names, ...({ tag, digest } as object) },
    }),
  );

describe('the entity tag of an archive', () => {
  test('is the same exactly when the bytes are', async () => {
    const seen = { same: 0, other: 0 };
    await fc.assert(
      fc.asyncProperty(sample, sample, async (one, two) => {
        const [first, second] = [dockerLayout(one.input), dockerLayout(two.input)];
        const [a, b] = [await encode(first, one.tars), await encode(second, two.tars)];
        assert.equal(first.etag === second.etag, a.equals(b));
        seen[a.equals(b) ? 'same' : 'other'] += 1;
      }),
      { numRuns: 1500 },
    );
    assert.ok(seen.same > 0 && seen.other > 0, JSON.stringify(seen));
  });

  const { input } = makeSample({ layers: ['one', 'two'] });
  const [base, top] = input.layers;
  assert.ok(base !== undefined && top !== undefined);
  const withReference = (change: Partial<ArchiveInput['reference']>) => ({
    ...input,
    reference: { ...input.reference, ...change },
  });
  const changes: Readonly<Record<string, ArchiveInput>> = {
    tag: withReference({ tag: '2' }),
    repository: withReference({ repository: 'library/other' }),
    'registry name': withReference({ registryName: 'ghcr.io' }),
    'config digest': { ...input, configDigest: digestOf('1') },
    'config bytes': { ...input, configBytes: Buffer.concat([input.configBytes, Buffer.from(' ')]) },
    'layer order': { ...input, layers: [top, base] },
    'diff ID': { ...input, layers: [base, { ...top, diffId: digestOf('2') }] },
    'layer size': { ...input, layers: [base, { ...top, size: top.size + 1 }] },
    'number of layers': { ...input, layers: [base, top, top] },
  };
  for (const [what, changed] of Object.entries(changes)) {
    test(`is another one with another ${what}`, () => {
      assert.notEqual(dockerLayout(changed).etag, dockerLayout(input).etag);
    });
  }

  test('tells the same entries in another order apart', () => {
    const entry = (name: string): ArchiveEntry => ({ name, type: 'file', size: 0 });
    const [a, b] = [entry('a'), entry('b')];
    assert.notEqual(planArchive([a, b], []).etag, planArchive([b, a], []).etag);
  });

  test('tells layers of equal size apart where nothing but their bytes differs', () => {
    const entries: ArchiveEntry[] = [{ name: 'layer.tar', type: 'file', size: 5, layer: 0 }];
    const etag = (digit: string) => planArchive(entries, [{ diffId: digestOf(digit), size: 5 }]).etag;
    assert.notEqual(etag('1'), etag('2'));
    assert.equal(etag('1'), etag('1'));
  });

  test('is strong and quoted, as HTTP writes it', () => {
    fc.assert(fc.property(sample, ({ input }) => assert.match(dockerLayout(input).etag, /^"[0-9a-f]{64}"$/)));
  });
});

describe('the size of an archive', () => {
  test('is the length of what is written', async () => {
    await fc.assert(
      fc.asyncProperty(sample, async ({ input, tars }) => {
        const archive = dockerLayout(input);
        assert.equal((await encode(archive, tars)).length, archive.size);
      }),
      { numRuns: 200 },
    );
  });

  test('is known beyond what memory holds', () => {
    const { input } = makeSample({ layers: ['x'.repeat(512)] });
    const small = dockerLayout(input).size;
    const large = dockerLayout({
      ...input,
      layers: input.layers.map((layer) => ({ ...layer, size: layer.size + 20_000 * MIB })),
    });
    // The description of the layer does not say its size, so that nothing else grows.
    assert.equal(large.size, small + 20_000 * MIB);
  });
});
