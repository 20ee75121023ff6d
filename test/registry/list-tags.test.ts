import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FakeRegistryOptions, startFakeRegistry } from '../support/fake-registry.ts';
import { IMAGE, LIMITS, never, openAccess, REPOSITORY } from './support/scene.ts';

/** A registry with these tags, and a list of the tags of a repository. */
async function startTagged(tags: readonly string[], options: FakeRegistryOptions = {}) {
  const server = await startFakeRegistry(options);
  for (const tag of tags) server.push(REPOSITORY, tag, IMAGE);
  const access = openAccess();
  return {
    server,
    list: async (repository = REPOSITORY) => {
      const pages = access.open(server, undefined, {}, repository).listTags(never());
      return (await Array.fromAsync(pages)).flat();
    },
    [Symbol.asyncDispose]: async () => {
      access[Symbol.dispose]();
      await server.close();
    },
  };
}

test('tags are listed over all pages, also if the link is in a header line of its own', async () => {
  const tags = ['1', '1.0', '2', '3-rc.1', 'latest'];
  const tagLink = (next: string) => ['</v2/>; rel="first"', `<${next}>; rel="next"`];
  for (const [defects, pages] of [
    [{}, 1],
    [{ tagPageSize: 2 }, 3],
    [{ tagPageSize: 1, tagLink }, 5],
  ] as const) {
    await using tagged = await startTagged(tags, { defects });
    assert.deepEqual(await tagged.list(), tags);
    assert.equal(tagged.server.countRequests(/^GET \/v2\/team\/app\/tags\/list\?/), pages);
    assert.equal(tagged.server.requests[0]?.path, '/v2/team/app/tags/list?n=1000');
  }
});

test('a tag list is retried, and a page beyond the limit is not read to its end', async () => {
  await using tagged = await startTagged(['1', '2'], { defects: { failWith: { status: 503, times: 1 } } });
  assert.deepEqual(await tagged.list(), ['1', '2']);
  assert.equal(tagged.server.requests.length, 2);

  const tags = ['x'.repeat(LIMITS.manifestBytes)];
  tagged.server.defects.failWith = { status: 200, body: JSON.stringify({ tags }) };
  await assert.rejects(tagged.list(), {
    code: 'REGISTRY_FAILED',
    message: `Cannot read tag list: it is larger than ${LIMITS.manifestBytes} bytes`,
  });
});

test('an error of the registry is quoted', async () => {
  await using tagged = await startTagged(['1']);
  await assert.rejects(tagged.list('team/none'), {
    code: 'IMAGE_NOT_FOUND',
    message: `Cannot get tag list of ${tagged.server.host}/team/none: not found: repository name not known to registry (NAME_UNKNOWN)`,
    details: { registryStatus: 404, registryCode: 'NAME_UNKNOWN' },
  });
  tagged.server.defects.failWith = { status: 403 };
  await assert.rejects(tagged.list(), { code: 'REGISTRY_DENIED' });
});

test('one token serves all pages', async () => {
  const options = { auth: { mode: 'token' }, defects: { tagPageSize: 1 } } as const;
  await using tagged = await startTagged(['1', '2'], options);
  assert.deepEqual(await tagged.list(), ['1', '2']);
  assert.deepEqual([tagged.server.tokenRequests.length, tagged.server.countRequests(/tags/)], [1, 3]);
});
