import assert from 'node:assert/strict';
import test from 'node:test';
import { startFakeRegistry } from './fake-registry.ts';
import { makeImage } from './image.ts';

const IMAGE = makeImage({ layers: [] });

async function startTagged() {
  const registry = await startFakeRegistry();
  for (const tag of ['b', 'a', 'c']) registry.push('team/app', tag, IMAGE);
  registry.push('team/app', IMAGE.manifest.digest, IMAGE);
  return registry;
}

test('tags are listed in their order, page by page, each with a link to the next', async () => {
  await using registry = await startTagged();
  const cases: [query: string, tags: string[], link: string | null][] = [
    ['', ['a', 'b', 'c'], null],
    ['?n=2', ['a', 'b'], '</v2/team/app/tags/list?last=b&n=2>; rel="next"'],
    ['?n=2&last=b', ['c'], null],
    ['?last=a', ['b', 'c'], null],
    ['?n=0', [], null],
  ];
  for (const [query, tags, link] of cases) {
    const response = await fetch(`${registry.origin}/v2/team/app/tags/list${query}`);
    assert.deepEqual(await response.json(), { name: 'team/app', tags }, query);
    assert.equal(response.headers.get('link'), link, query);
  }
});

test('what cannot be listed is refused', async () => {
  await using registry = await startTagged();
  for (const [path, status, code] of [
    ['team/app/tags/list?n=x', 400, 'PAGINATION_NUMBER_INVALID'],
    ['team/none/tags/list', 404, 'NAME_UNKNOWN'],
    ['team/app/tags/other', 404, 'UNSUPPORTED'],
  ] as const) {
    const response = await fetch(`${registry.origin}/v2/${path}`);
    const { errors } = (await response.json()) as { errors: { code: string }[] };
    assert.deepEqual([response.status, errors[0]?.code], [status, code]);
  }
});

test('the switches make pages smaller and spell the link', async () => {
  await using registry = await startTagged();
  registry.defects.tagPageSize = 1;
  registry.defects.tagLink = (next) => [`<${next}&x=1>; rel=next`, '<a>; rel=b'];
  const response = await fetch(`${registry.origin}/v2/team/app/tags/list?n=5`);
  assert.deepEqual(await response.json(), { name: 'team/app', tags: ['a'] });
  assert.equal(response.headers.get('link'), '</v2/team/app/tags/list?last=a&n=1&x=1>; rel=next, <a>; rel=b');
});

test('HEAD of a manifest tells its digest, type and length', async () => {
  await using registry = await startTagged();
  const response = await fetch(`${registry.origin}/v2/team/app/manifests/a`, { method: 'HEAD' });
  assert.deepEqual(
    ['docker-content-digest', 'content-type', 'content-length'].map((name) => response.headers.get(name)),
    [IMAGE.manifest.digest, IMAGE.manifest.mediaType, String(IMAGE.manifest.bytes.length)],
  );
});
