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
import { startScriptedServer } from '../support/scripted-server.ts';
import { SIGNED_QUERY, serveSignedBlobs, URL_SIGNATURE } from '../support/signed-blobs.ts';
import { recordSpans } from '../support/span-recorder.ts';
import { within } from '../support/within.ts';
import {
  type AccessOptions,
  BIG,
  BIG_LAYER,
  CLIENT,
  headersOf,
  IMAGE,
  never,
  OPERATOR,
  REPOSITORY,
  startRegistry,
  startScene,
} from './support/scene.ts';

const NOT_LISTED = 'it is not in the list of allowed registries';
const BLOB_PATH = `/v2/${REPOSITORY}/blobs/${BIG_LAYER.digest}`;

describe('a URL of a foreign layer', () => {
  const HTTPS = registryHost('https', 'registry.example.com');
  const HTTP = registryHost('http', 'registry.example.com:5000');
  const allowed = ['*.microsoft.com', 'http://lab.example.com'].map(parseHostPattern);

  const accepted: [text: string, host?: typeof HTTPS, allowedHosts?: typeof allowed][] = [
    ['https://mcr.microsoft.com/v2/windows/nanoserver/blobs/sha256:abc'],
    ['https://go.microsoft.com/fwlink/?linkid=837858'],
    ['https://example.com:8443/layer'],
    // http only if the registry uses it, or on the host of the registry.
    ['http://example.com/layer', HTTP],
    ['http://registry.example.com:81/layer'],
    // Allowed hosts, and the origin of the registry.
    ['https://mcr.microsoft.com/layer', HTTPS, allowed],
    ['http://lab.example.com/layer', HTTP, allowed],
    ['https://registry.example.com/layer', HTTPS, []],
  ];
  for (const [text, host = HTTPS, allowedHosts] of accepted) {
    test(`may be ${text} in an image of ${host.origin}${allowedHosts ? ', with a list' : ''}`, () => {
      assert.equal(foreignUrl(`${text}#part`, { host, allowedHosts }).href, text);
    });
  }

  const refused: [text: string, origin: string, why: string, host?: typeof HTTPS][] = [
    ['http://example.com/layer', 'http://example.com', 'it is http, and the registry is https'],
    ...['user', 'user:secret', ':secret'].map((userinfo): [string, string, string] => [
      `https://${userinfo}@example.com/layer`,
      'https://example.com',
      'its address has credentials in it',
    ]),
    ['https://example.com/layer?sig=secret', 'https://example.com', NOT_LISTED],
    ['https://microsoft.com/layer', 'https://microsoft.com', NOT_LISTED],
    ['https://registry.example.com:8443/layer', 'https://registry.example.com:8443', NOT_LISTED],
    ['https://lab.example.com/layer', 'https://lab.example.com', NOT_LISTED, HTTP],
  ];
  for (const [text, origin, why, host = HTTPS] of refused) {
    test(`must not be ${text} in an image of ${host.origin}`, () => {
      assert.throws(
        () => foreignUrl(text, { host, allowedHosts: why === NOT_LISTED ? allowed : undefined }),
        {
          code: 'REGISTRY_NOT_ALLOWED',
          message: `Cannot fetch a foreign layer from "${origin}": ${why}`,
          details: why === NOT_LISTED ? { setting: 'allowedHosts' } : {},
        },
      );
    });
  }

  test('must be an absolute http or https URL', () => {
    for (const text of [
      '',
      'layer',
      '/layer',
      '//example.com/',
      'ftp://example.com/',
      'file:///etc/passwd',
    ]) {
      const parse = () => foreignUrl(text, { host: HTTPS, allowedHosts: undefined });
      assert.throws(parse, { code: 'UNSUPPORTED_IMAGE' }, text);
    }
  });
});

describe('of several sources', () => {
  const failing = (message: string, hints?: readonly string[]) => async () => {
    throw new PassthroughError('REGISTRY_FAILED', message, { registryStatus: 500, ...(hints && { hints }) });
  };
  const unused = async () => assert.fail('one source too many');

  test('the first that opens is returned, and no later one is tried', async () => {
    assert.equal(await firstToOpen([failing('one'), async () => 2, unused], never()), 2);
  });

  test('the error of the last is thrown if all fail, with the earlier errors as hints', async () => {
    for (const [sources, message, hints] of [
      [[failing('one'), failing('two'), failing('three', ['x'])], 'three', { hints: ['one', 'two', 'x'] }],
      [[failing('one')], 'one', {}],
    ] as const) {
      const details = { registryStatus: 500, ...hints };
      await assert.rejects(firstToOpen(sources, never()), { code: 'REGISTRY_FAILED', message, details });
    }
  });

  test('no later one is tried after an abort or an unexpected error', async () => {
    await assert.rejects(firstToOpen([failing('one'), unused], AbortSignal.abort()), { message: 'one' });
    const fault = new TypeError('fault');
    const sources = [() => Promise.reject(fault), unused] as const;
    await assert.rejects(firstToOpen(sources, never()), (error) => error === fault);
  });
});

describe('a foreign layer', () => {
  /** A registry without the blob, a client with credentials for it, and a server that has the blob. */
  async function start(defects: Defects = { dropBlob: true }, options: AccessOptions = {}) {
    const elsewhere = await startRegistry();
    const scene = await startScene({ auth: { mode: 'token', allowAnonymous: false }, defects }, options);
    return {
      ...scene,
      client: scene.open(CLIENT),
      elsewhere,
      url: `${elsewhere.origin}${BLOB_PATH}`,
      [Symbol.asyncDispose]: async () => {
        await scene[Symbol.asyncDispose]();
        await elsewhere.close();
      },
    };
  }

  const at = (...urls: readonly string[]): Descriptor => ({ ...BIG_LAYER, urls });

  const read = async (client: Repository, descriptor: Descriptor): Promise<Buffer> =>
    await readAll(await client.openForeignLayer(descriptor, never()));

  test('is read from the registry with credentials if the registry has it', async () => {
    await using scene = await start({});
    assert.deepEqual(await read(scene.client, at(scene.url)), BIG);
    assert.match(headersOf(scene.server).at(-1) ?? '', /^Bearer /);
    assert.equal(scene.elsewhere.requests.length, 0);
  });

  test('is read from the first URL that has it, without credentials, if the registry lacks it', async () => {
    await using scene = await start();
    const { origin, requests } = scene.elsewhere;
    assert.deepEqual(await read(scene.client, at(`${origin}/none`, scene.url, `${origin}/later`)), BIG);
    assert.deepEqual(
      requests.map(({ path, headers }) => [path, headers.authorization, headers['accept-encoding']]),
      [
        ['/none', undefined, 'identity'],
        [BLOB_PATH, undefined, 'identity'],
      ],
    );
  });

  test('is read from a URL after any failure of the registry', async () => {
    for (const defects of [
      { failWith: { pattern: /blobs/, status: 403 } },
      { failWith: { pattern: /blobs/, status: 500 } },
      { failWith: { pattern: /blobs/, status: 429, headers: { 'Retry-After': '99' } } },
      { resetConnections: { pattern: /blobs/ } },
    ] satisfies Defects[]) {
      await using scene = await start(defects);
      assert.deepEqual(await read(scene.client, at(scene.url)), BIG);
    }
  });

  test("gets no credentials on the registry's own origin, not even after a challenge", async () => {
    for (const credential of [CLIENT, OPERATOR]) {
      await using scene = await startScene({ auth: { mode: 'basic' }, defects: { dropBlob: true } });
      const { origin } = scene.server;
      const client = scene.open(credential, { tokenEndpoint: 'none' });
      await assert.rejects(read(client, at(`${origin}${BLOB_PATH}?foreign`)), {
        code: 'REGISTRY_DENIED',
        message: `Cannot get foreign layer "${BIG_LAYER.digest}" from "${origin}": authentication is required or was refused: authentication required (UNAUTHORIZED)`,
      });
      assert.deepEqual(headersOf(scene.server, 'authorization', /\?foreign$/), [undefined]);
    }
  });

  test('is read over a redirect to a signed URL', async () => {
    await using storage = await startScriptedServer(serveSignedBlobs(IMAGE.blobs));
    await using link = await startScriptedServer((_, response) => {
      const location = `${storage.origin}/signed/${BIG_LAYER.digest}?${SIGNED_QUERY}`;
      response.writeHead(302, { Location: location }).end();
    });
    await using scene = await start();
    assert.deepEqual(await read(scene.client, at(`${link.origin}/fwlink?linkid=1`)), BIG);
    assert.equal(link.requests[0]?.path, '/fwlink?linkid=1');
  });

  test('is resumed at the same URL', async () => {
    await using scene = await start();
    scene.elsewhere.defects.truncateBlob = { afterBytes: 100_000, times: 2 };
    assert.deepEqual(await read(scene.client, at(scene.url)), BIG);
    const ranges = [undefined, 'bytes=100000-', 'bytes=200000-'];
    assert.deepEqual(headersOf(scene.elsewhere, 'range'), ranges);
    assert.equal(scene.server.countRequests(/blobs/), 2);
  });

  test('is not read from a forbidden address, directly or over a redirect', async () => {
    const forbidden = 'http://169.254.169.254/latest';
    await using link = await startScriptedServer((_, response) => {
      response.writeHead(302, { Location: forbidden }).end();
    });
    await using scene = await start();
    for (const url of [forbidden, link.origin]) {
      await assert.rejects(read(scene.client, at(url)), {
        code: 'REGISTRY_NOT_ALLOWED',
        message: /"169\.254\.169\.254": it is a link-local/,
      });
    }
  });

  test('is read from listed hosts alone: other URLs get no request, and the next URL is tried', async () => {
    await using scene = await start(
      { dropBlob: true },
      { allowedHosts: [parseHostPattern('mcr.microsoft.com')] },
    );
    await assert.rejects(read(scene.client, at(scene.url)), (error) => {
      assert.ok(isPassthroughError(error, 'REGISTRY_NOT_ALLOWED'));
      assert.ok(error.message.endsWith(NOT_LISTED));
      assert.equal(error.details.setting, 'allowedHosts');
      assert.match(error.details.hints?.[0] ?? '', /^Cannot get layer .*BLOB_UNKNOWN\)$/);
      return true;
    });
    assert.equal(scene.elsewhere.requests.length, 0);

    const allowedHosts = [parseHostPattern(scene.elsewhere.host)];
    await using listing = await start({ dropBlob: true }, { allowedHosts });
    assert.deepEqual(await read(listing.client, at('https://mcr.microsoft.com/', scene.url)), BIG);
    assert.equal(scene.elsewhere.requests.length, 1);
  });

  test('without URLs is read from the registry or fails with its error', async () => {
    await using scene = await start({});
    assert.deepEqual(await read(scene.client, BIG_LAYER), BIG);
    scene.server.defects.dropBlob = true;
    for (const descriptor of [BIG_LAYER, at()]) {
      const details = { registryStatus: 404, registryCode: 'BLOB_UNKNOWN' };
      await assert.rejects(read(scene.client, descriptor), { code: 'IMAGE_NOT_FOUND', details });
    }
  });

  test('is tried at its first URLs alone if it has many', async () => {
    await using scene = await start();
    const urls = Array.from({ length: 100 }, (_, index) => `${scene.elsewhere.origin}/${index}`);
    await assert.rejects(read(scene.client, at(...urls)), { code: 'IMAGE_NOT_FOUND' });
    assert.equal(scene.elsewhere.requests.length, MAX_FOREIGN_URLS);
  });

  test('frees its connection when it is ended unread', async () => {
    await using scene = await start();
    scene.elsewhere.defects.stallBlob = { afterBytes: 1000 };
    const layer = await scene.client.openForeignLayer(at(scene.url), never());
    await scene.elsewhere.waitForStalled();
    await layer.return();
    await within(scene.elsewhere.waitForNoActiveRequests(), 'the end of the unread response');
  });

  test('has no signature in its span and in its error', async () => {
    const { spans } = recordSpans();
    await using storage = await startScriptedServer(({ url }, response) => {
      response.writeHead(403).end(JSON.stringify({ message: `expired: ${url}` }));
    });
    await using scene = await start();
    await assert.rejects(read(scene.client, at(`${storage.origin}/layer?${SIGNED_QUERY}`)), {
      code: 'REGISTRY_DENIED',
      message: /: expired: \/layer\?\[redacted\]$/,
    });
    const { name, attributes } = spans.at(-1) ?? assert.fail();
    assert.equal(name, 'GET {foreign_layer_url}');
    const { 'url.template': template, 'url.full': url, 'registry.auth.type': type } = attributes;
    const { 'registry.operation': operation, 'server.port': port } = attributes;
    assert.deepEqual(
      [template, url, operation, type, port],
      ['{foreign_layer_url}', `${storage.origin}/layer`, 'layer', 'none', storage.port],
    );
    assert.ok(!JSON.stringify(spans.map((span) => span.attributes)).includes(URL_SIGNATURE));
  });
});
