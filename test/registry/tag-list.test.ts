import assert from 'node:assert/strict';
import test from 'node:test';
import {
  collectTags,
  MAX_TAG_LIST_BYTES,
  MAX_TAG_PAGES,
  MAX_TAGS,
  type TagPage,
} from '../../src/registry/tag-list.ts';

const FIRST = new URL('https://registry.example.com/v2/team/app/tags/list?n=1000');

/** A page as the registry sends it. */
interface Page {
  readonly bytes: Uint8Array;
  readonly link: string;
}

const page = (tags: unknown, next?: string): Page => ({
  bytes: Buffer.from(JSON.stringify({ name: 'team/app', tags })),
  link: next === undefined ? '' : `<${next}>; rel="next"`,
});

/** Reads a whole list. */
async function collect(getPage: (url: URL) => Page): Promise<readonly string[]> {
  const pages = collectTags(
    FIRST,
    async (url, parse): Promise<TagPage> => {
      const { bytes, link } = getPage(url);
      return { size: bytes.length, tags: parse(bytes), link };
    },
    'tag list',
  );
  return (await Array.fromAsync(pages)).flat();
}

/** Reads a list of pages, and records the requested URLs. */
function collecting(...pages: readonly Page[]) {
  const urls: string[] = [];
  const getPage = (url: URL) => pages[urls.push(url.href) - 1] ?? assert.fail('one page too many');
  return { urls, tags: collect(getPage) };
}

const refused = (why: string) => ({
  name: 'PassthroughError',
  code: 'REGISTRY_FAILED',
  message: `Cannot read tag list: ${why}`,
});

test('tags of all pages are returned once, in the order of the registry', async () => {
  const { tags, urls } = collecting(
    page(['b', 'a', 'b'], '?n=2&last=b'),
    page([], '?n=2&last=c'),
    page(['a', 'c']),
  );
  assert.deepEqual(await tags, ['b', 'a', 'c']);
  const list = 'https://registry.example.com/v2/team/app/tags/list';
  assert.deepEqual(urls, [`${list}?n=1000`, `${list}?n=2&last=b`, `${list}?n=2&last=c`]);
});

test('the next page has the same host and path, in every form of its URL', async () => {
  const expected = 'https://registry.example.com/v2/team/app/tags/list?last=b';
  for (const next of [
    '?last=b',
    '/v2/team/app/tags/list?last=b',
    'list?last=b',
    '//registry.example.com/v2/team/app/tags/list?last=b',
    'https://registry.example.com/v2/team/app/tags/list?last=b',
    'https://registry.example.com:443/v2/team/app/tags/list?last=b#c',
    'https://user:pw@registry.example.com/v2/team/app/tags/list?last=b',
    // A registry behind a TLS-terminating proxy writes http.
    'http://registry.example.com/v2/team/app/tags/list?last=b',
  ]) {
    const { tags, urls } = collecting(page(['a'], next), page(['b']));
    assert.deepEqual(await tags, ['a', 'b'], next);
    assert.equal(urls[1], expected, next);
  }
});

test('a next page with another host or path is refused without a request', async () => {
  const origin = (text: string) => `its next page is at another origin, ${JSON.stringify(text)}`;
  const path = (text: string) => `its next page has another path, ${JSON.stringify(text)}`;
  for (const [next, why] of [
    ['https://evil.example.com/v2/team/app/tags/list', origin('https://evil.example.com')],
    ['//evil.example.com/v2/team/app/tags/list', origin('https://evil.example.com')],
    ['https://registry.example.com:5000/v2/team/app/tags/list', origin('https://registry.example.com:5000')],
    ['http://169.254.169.254/v2/team/app/tags/list', origin('http://169.254.169.254')],
    ['file://registry.example.com/v2/team/app/tags/list', origin('null')],
    ['/v2/team/other/tags/list?last=b', path('/v2/team/other/tags/list')],
    ['../../../other/tags/list', path('/v2/other/tags/list')],
    ['/token', path('/token')],
    ['http://[', 'its next page is not a URL'],
  ] as const) {
    const { tags, urls } = collecting(page(['a'], next));
    await assert.rejects(tags, refused(why), next);
    assert.equal(urls.length, 1, next);
  }
});

test('a circle of pages is refused', async () => {
  const { tags, urls } = collecting(page(['a'], '?last=a'), page(['b'], '?n=1000'));
  await assert.rejects(tags, refused('its pages lead in a circle'));
  assert.equal(urls.length, 2);
});

test('a repository without tags has an empty list', async () => {
  for (const body of ['{"name":"team/app","tags":null}', '{"name":"team/app"}', '{"tags":[]}']) {
    assert.deepEqual(await collecting({ bytes: Buffer.from(body), link: '' }).tags, [], body);
  }
});

test('tags are not checked, except that they are strings', async () => {
  const odd = ['-a', '', 'ü', 'a/b'];
  assert.deepEqual(await collecting(page([1, null, ...odd, { tag: 'x' }])).tags, odd);
});

test('a body that is no tag list is refused', async () => {
  for (const [body, why] of [
    ['<html>', 'it is not JSON'],
    ['', 'it is not JSON'],
    ['[]', 'it is not a JSON object'],
    ['null', 'it is not a JSON object'],
    ['"tags"', 'it is not a JSON object'],
    ['{"tags":"a"}', 'its tags are not a list'],
    ['{"tags":{"0":"a"}}', 'its tags are not a list'],
  ] as const) {
    await assert.rejects(collecting({ bytes: Buffer.from(body), link: '' }).tags, refused(why), body);
  }
});

test('an endless list is refused by the number of its pages, tags or bytes', async () => {
  let requested = 0;
  const endless = (make: (index: number) => Page) => {
    requested = 0;
    return collect(() => make(++requested));
  };
  await assert.rejects(
    endless((index) => page(['a'], `?last=${index}`)),
    refused(`it has more than ${MAX_TAG_PAGES} pages`),
  );
  assert.equal(requested, MAX_TAG_PAGES);

  const many = (index: number) => Array.from({ length: MAX_TAGS / 10 }, (_, tag) => `${index}-${tag}`);
  await assert.rejects(
    endless((index) => page(many(index), `?last=${index}`)),
    refused(`it has more than ${MAX_TAGS} tags`),
  );
  assert.equal(requested, 11);

  const long = 'x'.repeat(MAX_TAG_LIST_BYTES / 4);
  await assert.rejects(
    endless((index) => page([long], `?last=${index}`)),
    refused(`it is larger than ${MAX_TAG_LIST_BYTES} bytes`),
  );
  assert.equal(requested, 4);
});
