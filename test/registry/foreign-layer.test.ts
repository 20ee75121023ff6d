import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError, PassthroughError } from '../../src/errors.ts';
import type { Descriptor } from '../../src/image/manifest.ts';
import { firstToOpen, foreignUrl, MAX_FOREIGN_URLS } from '../../src/registry/foreign-layer.ts';
import { parseHostPattern } from '../../src/registry/host-pattern.ts';
import { registryHost } from '../../src/registry/registry-host.ts';
import type { Repository } from '../../src/registry/repository.ts';
import { readAll } from '../support/collect.ts';
import type { Defects } from '../support/defects.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { SIGNED_QUERY, serveSignedBlobs, URL_SIGNATURE } from '../support/signed-blobs.ts';
import { recordSpans } from '../support/span-recorder.ts';
import { within } from '../support/within.ts';
import {
  type AccessOptions,
  BIG,
  BIG_LAYER,
  CLIENT,
  IMAGE,
  never,
  OPERATOR,
  openAccess,
  REPOSITORY,
} from './open.ts';

const HTTPS = registryHost('https', 'registry.example.com');
const HTTP = registryHost('http', 'registry.example.com:5000');

const notAllowed = (origin: string, why: string) => ({
  code: 'REGISTRY_NOT_ALLOWED',
  message: `Cannot fetch a foreign layer from "${origin}": ${why}`,
});

describe('an address of a foreign layer', () => {
  const url = (text: string, target = HTTPS, allowed?: readonly string[]): string =>
    foreignUrl(text, { target, allowedHosts: allowed?.map(parseHostPattern) }).href;

  test('is https, with a query and a port where it has them', () => {
    for (const text of [
      'https://mcr.microsoft.com/v2/windows/nanoserver/blobs/sha256:abc',
      'https://go.microsoft.com/fwlink/?linkid=837858',
      'https://example.com:8443/layer',
    ]) {
      assert.equal(url(text), text);
    }
    assert.equal(url('https://example.com/layer#part'), 'https://example.com/layer');
  });

  test("is http where the registry is, or on the registry's own host", () => {
    assert.equal(url('http://example.com/layer', HTTP), 'http://example.com/layer');
    assert.equal(url('http://registry.example.com:81/layer'), 'http://registry.example.com:81/layer');
    assert.throws(
      () => url('http://example.com/layer'),
      notAllowed('http://example.com', 'it is http, and the registry is https'),
    );
  });

  test('is refused with credentials in it, and they are not shown', () => {
    for (const userinfo of ['user', 'user:secret', ':secret']) {
      assert.throws(
        () => url(`https://${userinfo}@example.com/layer`),
        notAllowed('https://example.com', 'its address has credentials in it'),
      );
    }
  });

  test('is of an allowed host, or of the registry itself', () => {
    const allowed = ['*.microsoft.com', 'http://lab.example.com'];
    assert.ok(url('https://mcr.microsoft.com/layer', HTTPS, allowed));
    assert.ok(url('http://lab.example.com/layer', HTTP, allowed));
    assert.ok(url('https://registry.example.com/layer', HTTPS, []));
    for (const [text, target] of [
      ['https://example.com', HTTPS],
      ['https://microsoft.com', HTTPS],
      ['https://registry.example.com:8443', HTTPS],
      ['https://lab.example.com', HTTP],
    ] as const) {
      assert.throws(
        () => url(`${text}/layer?sig=secret`, target, allowed),
        notAllowed(text, 'REGISTRY_ALLOWED_HOSTS does not list it'),
      );
    }
  });

  test('is nothing else', () => {
    for (const text of [
      '',
      'layer',
      '/layer',
      '//example.com/',
      'ftp://example.com/',
      'file:///etc/passwd',
    ]) {
      assert.throws(() => url(text), { code: 'UNSUPPORTED_IMAGE' }, text);
    }
  });
});

describe('the first to open', () => {
  const failing = (message: string, hints?: readonly string[]) => async () => {
    throw new PassthroughError('REGISTRY_FAILED', message, { registryStatus: 500, ...(hints && { hints }) });
  };

  test('is taken, and those behind it are left alone', async () => {
    const sources = [failing('one'), async () => 2, async () => assert.fail('one too many')] as const;
    assert.equal(await firstToOpen(sources, never()), 2);
  });

  test('is none: then the last failure counts, with the others as hints', async () => {
    await assert.rejects(firstToOpen([failing('one'), failing('two'), failing('three', ['x'])], never()), {
      code: 'REGISTRY_FAILED',
      message: 'three',
      details: { registryStatus: 500, hints: ['one', 'two', 'x'] },
    });
    await assert.rejects(firstToOpen([failing('one')], never()), {
      message: 'one',
      details: { registryStatus: 500 },
    });
  });

  test('is not looked for once nobody waits, nor past a fault', async () => {
    const next = async () => assert.fail('one too many');
    await assert.rejects(firstToOpen([failing('one'), next], AbortSignal.abort()), { message: 'one' });
    const fault = new TypeError('fault');
    await assert.rejects(
      firstToOpen([async () => Promise.reject(fault), next], never()),
      (error) => error === fault,
    );
  });
});

/** A registry that lacks the blob, and a client with credentials for it. */
async function open(defects: Defects = { dropBlob: true }, options: AccessOptions = {}) {
  const server: FakeRegistry = await startFakeRegistry({
    auth: { mode: 'token', allowAnonymous: false },
    defects,
  });
  server.push(REPOSITORY, '1', IMAGE);
  const access = openAccess(options);
  const dispose = async (): Promise<void> => {
    access[Symbol.dispose]();
    await server.close();
  };
  return { server, client: access.open(server, CLIENT), [Symbol.asyncDispose]: dispose };
}

const at = (...urls: readonly string[]): Descriptor => ({ ...BIG_LAYER, urls });

const read = async (client: Repository, descriptor: Descriptor): Promise<Buffer> =>
  await readAll(await client.openForeignLayer(descriptor, never()));

/** A server that has the blob at every path, in any range. */
async function startElsewhere(defects: Defects = {}) {
  const server = await startFakeRegistry({ defects });
  server.push(REPOSITORY, '1', IMAGE);
  return { server, url: `${server.origin}/v2/${REPOSITORY}/blobs/${BIG_LAYER.digest}` };
}

test('the registry is asked first, with credentials, and its own copy is enough', async () => {
  const { server: elsewhere, url } = await startElsewhere();
  await using _ = elsewhere;
  await using setup = await open({});
  assert.deepEqual(await read(setup.client, at(url)), BIG);
  assert.match(setup.server.requests.at(-1)?.headers.authorization ?? '', /^Bearer /);
  assert.equal(elsewhere.requests.length, 0);
});

test('what the registry has not, the addresses have, one after the other, without credentials', async () => {
  const { server: elsewhere, url } = await startElsewhere();
  await using _ = elsewhere;
  await using setup = await open();
  const urls = [`${elsewhere.origin}/none`, url, `${elsewhere.origin}/later`];
  assert.deepEqual(await read(setup.client, at(...urls)), BIG);
  assert.deepEqual(
    elsewhere.requests.map(({ path, headers }) => [path, headers.authorization, headers['accept-encoding']]),
    [
      ['/none', undefined, 'identity'],
      [new URL(url).pathname, undefined, 'identity'],
    ],
  );
});

test('whatever the failure of the registry, the addresses are tried', async () => {
  for (const defects of [
    { failWith: { pattern: /blobs/, status: 403 } },
    { failWith: { pattern: /blobs/, status: 500 } },
    { failWith: { pattern: /blobs/, status: 429, headers: { 'Retry-After': '99' } } },
    { resetConnections: { pattern: /blobs/ } },
  ] satisfies Defects[]) {
    const { server: elsewhere, url } = await startElsewhere();
    await using _ = elsewhere;
    await using setup = await open(defects);
    assert.deepEqual(await read(setup.client, at(url)), BIG);
  }
});

test("an address on the registry's own origin gets no credentials, and its challenge is not answered", async () => {
  for (const credential of [CLIENT, OPERATOR]) {
    await using server = await startFakeRegistry({
      auth: { mode: 'basic' },
      defects: { dropBlob: true },
    });
    server.push(REPOSITORY, '1', IMAGE);
    using access = openAccess();
    const client = access.open(server, credential, { tokenEndpoint: 'none' });
    const path = `/v2/${REPOSITORY}/blobs/${BIG_LAYER.digest}?foreign`;
    await assert.rejects(read(client, at(`${server.origin}${path}`)), {
      code: 'REGISTRY_DENIED',
      message: `Cannot get foreign layer "${BIG_LAYER.digest}" from "${server.origin}": authentication is required or was refused: authentication required (UNAUTHORIZED)`,
    });
    const foreign = server.requests.filter((request) => request.path === path);
    assert.deepEqual(
      foreign.map(({ headers }) => headers.authorization),
      [undefined],
    );
  }
});

test('a redirect is followed, also to an address that is signed', async () => {
  await using storage = await startScriptedServer(serveSignedBlobs(IMAGE.blobs));
  await using elsewhere = await startScriptedServer((_, response) => {
    const location = `${storage.origin}/signed/${BIG_LAYER.digest}?${SIGNED_QUERY}`;
    response.writeHead(302, { Location: location }).end();
  });
  await using setup = await open();
  assert.deepEqual(await read(setup.client, at(`${elsewhere.origin}/fwlink?linkid=1`)), BIG);
  assert.equal(elsewhere.requests[0]?.path, '/fwlink?linkid=1');
});

test('a foreign layer that breaks off goes on with Range at the address that gave it', async () => {
  const { server: elsewhere, url } = await startElsewhere({
    truncateBlob: { afterBytes: 100_000, times: 2 },
  });
  await using _ = elsewhere;
  await using setup = await open();
  assert.deepEqual(await read(setup.client, at(url)), BIG);
  assert.deepEqual(
    elsewhere.requests.map(({ headers }) => headers.range),
    [undefined, 'bytes=100000-', 'bytes=200000-'],
  );
  assert.equal(setup.server.countRequests(/blobs/), 2);
});

test('an address that must not be dialled is refused, directly and behind a redirect', async () => {
  await using elsewhere = await startScriptedServer((_, response) => {
    response.writeHead(302, { Location: 'http://169.254.169.254/latest' }).end();
  });
  await using setup = await open();
  for (const url of ['http://169.254.169.254/latest', `${elsewhere.origin}/`]) {
    await assert.rejects(read(setup.client, at(url)), {
      code: 'REGISTRY_NOT_ALLOWED',
      message: /"169\.254\.169\.254": it is a link-local/,
    });
  }
});

test('an address that is not allowed is never asked, and the next one is tried', async () => {
  const { server: elsewhere, url } = await startElsewhere();
  await using _ = elsewhere;
  const allowedHosts = [parseHostPattern('mcr.microsoft.com')];
  await using setup = await open({ dropBlob: true }, { allowedHosts });
  await assert.rejects(read(setup.client, at(url)), (error) => {
    assert.ok(isPassthroughError(error, 'REGISTRY_NOT_ALLOWED'));
    assert.match(error.message, /REGISTRY_ALLOWED_HOSTS does not list it$/);
    assert.match(error.details.hints?.[0] ?? '', /^Cannot get layer .*BLOB_UNKNOWN\)$/);
    return true;
  });
  assert.equal(elsewhere.requests.length, 0);

  await using listing = await open({ dropBlob: true }, { allowedHosts: [parseHostPattern(elsewhere.host)] });
  assert.deepEqual(await read(listing.client, at('https://mcr.microsoft.com/', url)), BIG);
  assert.equal(elsewhere.requests.length, 1);
});

test('a layer without addresses is what the registry has, or has not', async () => {
  await using setup = await open({});
  assert.deepEqual(await read(setup.client, BIG_LAYER), BIG);
  setup.server.defects.dropBlob = true;
  for (const descriptor of [BIG_LAYER, at()]) {
    await assert.rejects(read(setup.client, descriptor), {
      code: 'IMAGE_NOT_FOUND',
      details: { registryStatus: 404, registryCode: 'BLOB_UNKNOWN' },
    });
  }
});

test('of a long list of addresses only the first are tried', async () => {
  const { server: elsewhere } = await startElsewhere();
  await using _ = elsewhere;
  await using setup = await open();
  const urls = Array.from({ length: 100 }, (_, index) => `${elsewhere.origin}/${index}`);
  await assert.rejects(read(setup.client, at(...urls)), { code: 'IMAGE_NOT_FOUND' });
  assert.equal(elsewhere.requests.length, MAX_FOREIGN_URLS);
});

test('a foreign layer that is given up frees its connection', async () => {
  const { server: elsewhere, url } = await startElsewhere({ stallBlob: { afterBytes: 1000 } });
  await using _ = elsewhere;
  await using setup = await open();
  const layer = await setup.client.openForeignLayer(at(url), never());
  await elsewhere.waitForStalled();
  await layer.return();
  await within(elsewhere.waitForNoActiveRequests(), 'the end of the answer that nobody read');
});

test('an attempt at a foreign layer has a span that names no more than its place, and no error its signature', async () => {
  const recorder = recordSpans();
  await using elsewhere = await startScriptedServer(({ url }, response) => {
    response.writeHead(403).end(JSON.stringify({ message: `expired: ${url}` }));
  });
  await using setup = await open();
  await assert.rejects(read(setup.client, at(`${elsewhere.origin}/layer?${SIGNED_QUERY}`)), (error) => {
    assert.ok(isPassthroughError(error, 'REGISTRY_DENIED'));
    assert.match(error.message, /: expired: \/layer\?\[redacted\]$/);
    return true;
  });
  const { name, attributes } = recorder.spans.at(-1) ?? assert.fail();
  assert.equal(name, 'GET {foreign_layer_url}');
  assert.deepEqual(
    ['url.template', 'url.full', 'registry.operation', 'registry.auth.type', 'server.port'].map(
      (key) => attributes[key],
    ),
    ['{foreign_layer_url}', `${elsewhere.origin}/layer`, 'layer', 'none', elsewhere.port],
  );
  assert.ok(!JSON.stringify(recorder.spans.map((span) => span.attributes)).includes(URL_SIGNATURE));
});
