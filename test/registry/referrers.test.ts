import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import type { Digest } from '../../src/image/digest.ts';
import {
  collectReferrers,
  type GetReferrerPage,
  type IsWanted,
  parseReferrers,
  referrersBody,
} from '../../src/registry/referrers.ts';
import { refusal } from '../pull/pulling.ts';

const DIGEST: Digest = `sha256:${'a'.repeat(64)}`;
const PLACE = { origin: 'http://registry', repository: 'team/app' };
const entry = (at: number) => ({
  mediaType: 'a/b',
  digest: `sha256:${String(at).padStart(64, '0')}`,
  size: at,
});
const bytesOf = (manifests: unknown) => Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));

const ANY: IsWanted = () => true;

/** Collects referrers from pages, and records their URLs. */
function collect(pages: readonly { readonly body: Buffer; readonly link?: string }[], isWanted = ANY) {
  const asked: string[] = [];
  const getPage: GetReferrerPage = async ({ endpoint }, parse) => {
    const { body, link = '' } = pages[asked.length] ?? assert.fail('no more pages');
    asked.push(endpoint.url.href);
    return { value: parse(body), link };
  };
  return { asked, result: collectReferrers(referrersBody(PLACE, DIGEST), isWanted, getPage) };
}

describe('referrers', () => {
  test('are read page by page, with what an entry says about itself', async () => {
    const annotations = { 'dev.sigstore.bundle.predicateType': 'https://x/sign', other: 'y' };
    const { asked, result } = collect([
      {
        body: bytesOf([{ ...entry(1), artifactType: 'c/d', annotations }]),
        link: '</v2/x?next=2>; rel="next"'.replace('/v2/x', `/v2/team/app/referrers/${DIGEST}`),
      },
      { body: bytesOf([entry(2)]) },
    ]);
    assert.deepEqual(await result, {
      referrers: [
        { ...entry(1), artifactType: 'c/d', predicateType: 'https://x/sign' },
        { ...entry(2), artifactType: '', predicateType: '' },
      ],
      listed: 2,
      isCut: false,
    });
    const first = `http://registry/v2/team/app/referrers/${DIGEST}`;
    assert.deepEqual(asked, [first, `${first}?next=2`]);
  });

  test('are a thousand at most', async () => {
    const many = Array.from({ length: 3_000 }, (_, at) => entry(at));
    const { asked, result } = collect([{ body: bytesOf(many), link: '<?a>; rel="next"' }]);
    const { referrers = [], isCut } = (await result) ?? {};
    assert.deepEqual([referrers.length, isCut], [1000, true]);
    assert.equal(asked.length, 1);
  });

  test('that are not wanted take no place', async () => {
    const pages = Array.from({ length: 3 }, (_, page) => ({
      body: bytesOf(Array.from({ length: 1000 }, (__, at) => entry(page * 1000 + at))),
      link: page === 2 ? '' : `<?page=${page + 1}>; rel="next"`,
    }));
    const { asked, result } = collect(pages, ({ size }) => size % 1000 === 999);
    const { referrers = [], ...rest } = (await result) ?? {};
    assert.deepEqual(
      [referrers.map(({ size }) => size), rest],
      [[999, 1999, 2999], { listed: 3000, isCut: false }],
    );
    assert.equal(asked.length, 3);
  });

  test('on more than 20 pages are cut', async () => {
    const pages = Array.from({ length: 21 }, (_, at) => ({
      body: bytesOf([entry(at)]),
      link: `<?page=${at}>; rel="next"`,
    }));
    const { asked, result } = collect(pages);
    const { listed, isCut } = (await result) ?? {};
    assert.deepEqual([listed, isCut, asked.length], [20, true, 20]);
  });

  test('at another place are not asked for, and those before it are kept with the failure', async () => {
    for (const target of ['http://other/v2/', '/v2/other/repository']) {
      const link = `<${target}>; rel="next"`;
      await refusal(collect([{ body: bytesOf([]), link }]).result, 'REGISTRY_FAILED');
      const { asked, result } = collect([{ body: bytesOf([entry(1)]), link }]);
      const { referrers = [], failure } = (await result) ?? {};
      assert.deepEqual([referrers.length, failure?.code, asked.length], [1, 'REGISTRY_FAILED', 1]);
    }
  });

  for (const body of [Buffer.from('<html>'), Buffer.from('[]'), Buffer.from('{}'), bytesOf('x')])
    test(`are not read from ${body}`, async () => {
      await refusal(collect([{ body }]).result, 'REGISTRY_FAILED');
    });

  const statuses: readonly [status: number, isMissing: boolean][] = [
    [400, true],
    [404, true],
    [405, true],
    [406, true],
    [501, true],
    [401, false],
    [403, false],
    [429, false],
    [500, false],
  ];
  for (const [registryStatus, isMissing] of statuses) {
    test(`${isMissing ? 'are not listed by' : 'fail with'} a registry that answers ${registryStatus}`, async () => {
      const getPage: GetReferrerPage = async () => {
        throw new PassthroughError('REGISTRY_FAILED', 'x', { registryStatus });
      };
      const result = collectReferrers(referrersBody(PLACE, DIGEST), ANY, getPage);
      if (isMissing) assert.equal(await result, undefined);
      else await refusal(result, 'REGISTRY_FAILED');
    });
  }
});

test('malformed entries are left out', () => {
  const entries = [
    {},
    1,
    { ...entry(1), digest: 'x' },
    entry(2),
    { ...entry(3), annotations: [], artifactType: 1 },
  ];
  const refuse = (why: string) => new Error(why);
  const { referrers } = parseReferrers(bytesOf(entries), { most: 10, isWanted: ANY, refuse });
  assert.deepEqual(
    referrers.map(({ size, artifactType }) => [size, artifactType]),
    [
      [2, ''],
      [3, ''],
    ],
  );
});
