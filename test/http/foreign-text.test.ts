/** What registries and clients write appears on one line, printable and short: in answers, in the log, and in spans. */

import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { connectRaw } from '../support/raw-client.ts';
import { type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';
import { startTestService, type TestService } from '../support/service.ts';
import { recordSpans } from '../support/span-recorder.ts';

/** Sets the title of a terminal, clears it, turns the text around, and forges a line; then it is long. */
const HOSTILE = `\u001b]0;x\u0007\u009b2J\u202egnp\u2066\u200f\u061c\u2028\u2029\ufeff\u200b\u007f\u0085\r\nforged: 1 ${'x'.repeat(5_000)}`;

/** What no answer and no line may have, line feeds excepted. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

/** Most characters of an answer to a failure, in all its lines. */
const MAX_ANSWER = 3_000;

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const DIGEST = `sha256:${'0'.repeat(64)}`;

const json = (value: unknown, type: string) => (response: ServerResponse) =>
  response.writeHead(200, { 'content-type': type }).end(JSON.stringify(value));
const failure =
  (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}) =>
  (response: ServerResponse) =>
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
const entry = (platform: unknown) => ({ mediaType: MANIFEST, digest: DIGEST, size: 100, platform });
const image = { schemaVersion: 2, mediaType: MANIFEST, layers: [] };

/** Answers of a registry, by what is hostile in them. */
const ANSWERS: Readonly<Record<string, (response: ServerResponse) => unknown>> = {
  'the message of an error': failure(404, { errors: [{ code: 'A', message: HOSTILE }] }),
  'the code of an error': failure(400, { errors: [{ code: HOSTILE, message: 'm' }] }),
  'the details of an error': failure(500, { details: HOSTILE }),
  'a body that is no JSON': failure(500, HOSTILE),
  'a challenge': failure(401, '', {
    'www-authenticate': `Bearer realm="http://x.invalid/\x9b2J",service="\x9b\x85${'x'.repeat(4_000)}"`,
  }),
  'a realm that is no URL': failure(401, '', { 'www-authenticate': 'Bearer realm="\x9b2J\x85"' }),
  'a redirect': failure(307, '', { location: `ht\x9btp://\x9b\x85/${'x'.repeat(5_000)}` }),
  'a redirect to a host': failure(307, '', { location: `http://${'x'.repeat(300)}.invalid/\x9b` }),
  'the platforms of an index': json(
    {
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [
        entry({ os: HOSTILE, architecture: HOSTILE }),
        entry({ os: 'linux', architecture: HOSTILE, variant: HOSTILE }),
        entry({ os: 'windows', architecture: 'amd64', 'os.version': HOSTILE }),
        ...Array.from({ length: 500 }, (_, at) => entry({ os: 'linux', architecture: `odd${at}` })),
      ],
    },
    INDEX,
  ),
  'the media type of a manifest': json({ ...image, mediaType: HOSTILE }, MANIFEST),
  'the media type of a config': json(
    { ...image, config: { mediaType: HOSTILE, digest: DIGEST, size: 1 } },
    MANIFEST,
  ),
  'the media type of a layer': json(
    {
      ...image,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: DIGEST, size: 1 },
      layers: [{ mediaType: HOSTILE, digest: DIGEST, size: 1 }],
    },
    MANIFEST,
  ),
  'a digest': json({ ...image, config: { mediaType: MANIFEST, digest: HOSTILE, size: 1 } }, MANIFEST),
  'a content type': (response) =>
    response.writeHead(200, { 'content-type': `application/\x9b${'x'.repeat(4_000)}` }).end('{}'),
  'a manifest that is no JSON': (response) =>
    response.writeHead(200, { 'content-type': MANIFEST }).end(`{"a": ${HOSTILE}`),
  tags: json({ name: HOSTILE, tags: ['1', HOSTILE] }, 'application/json'),
};

/** Requests that are hostile themselves. */
const TARGETS = [
  '/docker/a%C2%9B2J_1.tar',
  '/docker/a%E2%80%AEb_1.tar',
  '/docker/a_%E2%80%A8.tar',
  '/%E2%80%AE:1',
  '/a:%E2%80%AE',
  '/registry/https/a%E2%80%AEb/docker/a_1.tar',
  '/registry/%E2%80%AE/a/docker/a_1.tar',
  '/platform/linux/%E2%80%AE/docker/a_1.tar',
  '/platform/%E2%80%AE/docker/a_1.tar',
  '/docker/a_1.tar?platform=linux/%E2%80%AE',
  '/docker/a_1.tar?%E2%80%AE=1',
  '/a:1?name=%E2%80%AE&layout=%C2%9B',
  '/a:1?layout=%E2%80%AE',
  '/bundle.tar?image=%E2%80%AE',
  '/bundle.%E2%80%AE',
  '/manifest/a:1?type=%E2%80%AE',
  '/tags/a:%E2%80%AE',
  '/preparations/%E2%80%AE',
  '/registry/https/a/%E2%80%AE/a_1.tar',
  '/dokcer/%E2%80%AE.tar',
  `/docker/${'a'.repeat(1_900)}_1.tar`,
  `/docker/a_1.tar?platform=linux/${'x'.repeat(9_000)}`,
  `/a:1?layout=${'x'.repeat(9_000)}`,
];

const recorder = recordSpans();

describe('foreign text is printable and short', () => {
  let answer: (response: ServerResponse) => unknown = failure(404, '');
  let registry: ScriptedServer;
  let service: TestService;
  before(async () => {
    registry = await startScriptedServer((_, response) => void answer(response));
    service = await startTestService({
      REGISTRY_URL: `http://${registry.host}`,
      CACHE_MAX_BYTES: '100MiB',
    });
  });
  beforeEach(() => recorder.reset());
  after(async () => {
    await service[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  const assertPrintable = (text: string, what: string) =>
    assert.doesNotMatch(text.replaceAll('\n', ''), UNSEEN, what);

  /** Sends a request, and checks all that is written about it, also as a parser reads it. */
  async function check(target: string, headers: Readonly<Record<string, string>> = {}): Promise<void> {
    const start = service.logText().length;
    for (const accept of ['text/plain', 'application/problem+json']) {
      const reply = await service.request(target, { headers: { accept, ...headers } });
      const body = reply.body.toString();
      const id = String(reply.headers['x-request-id']);
      // A manifest is given as it is.
      if (reply.status !== 200) {
        assertPrintable(body, `the answer to ${target}`);
        assert.ok(body.length <= MAX_ANSWER, `${body.length} characters: ${target}`);
      }
      assertPrintable(reply.reason, 'the reason');
      if (reply.headers['content-type'] === 'application/problem+json') {
        for (const value of Object.values(JSON.parse(body))) assertPrintable(String(value), target);
      }
      const line = await service.waitForLog({ event: 'request', id });
      for (const value of Object.values(line)) assertPrintable(String(value), `the log of ${target}`);
    }
    assertPrintable(service.logText().slice(start), `the log of ${target}`);
    for (const span of recorder.spans) {
      assertPrintable(JSON.stringify([span.name, span.status.message]), `a span of ${target}`);
      for (const [name, value] of Object.entries(span.attributes)) {
        assertPrintable(String(value), `${name} of a span of ${target}`);
        assert.ok(String(value).length <= MAX_ANSWER, `${name} of a span of ${target}`);
      }
    }
  }

  for (const [what, hostile] of Object.entries(ANSWERS)) {
    test(`of a registry: ${what}`, async () => {
      answer = hostile;
      for (const target of ['/docker/team_app_1.tar', '/team/app:1', '/manifest/team/app:1?type=image']) {
        await check(target);
      }
      await check('/tags/team/app');
    });
  }

  for (const target of TARGETS) {
    test(`of a client: ${target.slice(0, 60)}`, async () => {
      answer = failure(404, '');
      await check(target);
    });
  }

  test('of the headers of a client', async () => {
    answer = failure(404, '');
    for (const name of [
      'user-agent',
      'forwarded',
      'x-forwarded-for',
      'x-forwarded-host',
      'accept',
      'range',
    ]) {
      await check('/docker/team_app_1.tar', { [name]: `for=\x9b2J\x85${'x'.repeat(4_000)}` });
      await check('/', { [name]: `\x9b2J\x85` });
    }
    using client = await connectRaw(service.port);
    client.send('GET / HTTP/1.1\r\nHost: a\x9b2J\r\nConnection: close\r\n\r\n');
    assertPrintable((await client.untilClosed()).toString('latin1').replaceAll('\r\n', '\n'), 'the host');
  });

  test('of a preparation that fails', async () => {
    answer = failure(404, { errors: [{ code: HOSTILE, message: HOSTILE }] });
    const {
      headers,
      status,
      body: accepted,
    } = await service.request('/prepare/team/app:1?X-Amz-Signature=hunter2&utm_source=%C2%9B', {
      method: 'POST',
    });
    assert.equal(status, 202, accepted.toString());
    const line = await service.waitForLog({ event: 'preparation' });
    for (const value of Object.values(line)) assertPrintable(String(value), 'the log');
    assert.equal(line['path'], '/team/app:1?X-Amz-Signature=REDACTED&utm_source=REDACTED');
    const { body } = await service.request(String(headers.location));
    assertPrintable(body.toString(), 'the preparation');
    for (const value of Object.values(JSON.parse(body.toString()).error))
      assertPrintable(String(value), 'its error');
    assert.doesNotMatch(service.logText(), /hunter2/);
  });
});

test('the tag list has the bytes of JSON, and its values are those of the registry', async () => {
  await using registry = await startScriptedServer((_, response) => void ANSWERS['tags']?.(response));
  await using service = await startTestService({
    REGISTRY_URL: `http://${registry.host}`,
    CACHE_MAX_BYTES: '100MiB',
  });
  const { body, status } = await service.request('/tags/team/app');
  if (status === 200) assert.doesNotMatch(body.toString().trimEnd(), UNSEEN);
  else assert.equal(status, 502);
});

test('clients do not see the address of a proxy, and the log does', async () => {
  await using registry = await startFakeRegistry();
  registry.push('team/app', '1', makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] }));
  const proxy = 'http://user:hunter2@127.0.0.1:9';
  await using service = await startTestService({
    REGISTRY_URL: 'https://registry.invalid',
    HTTP_PROXY: proxy,
    HTTPS_PROXY: proxy,
  });
  for (const path of ['/docker/team_app_1.tar', '/registry/http/other.invalid/docker/team_app_1.tar']) {
    for (const accept of ['text/plain', 'application/json']) {
      const { status, body, headers } = await service.request(path, { headers: { accept } });
      assert.equal(status, 502);
      assert.match(body.toString(), /the proxy on the way: connection refused/);
      assert.doesNotMatch(body.toString(), /127\.0\.0\.1|hunter2|:9\b/);
      const line = await service.waitForLog({ event: 'request', id: headers['x-request-id'] });
      assert.match(String(line['cause']), /ECONNREFUSED 127\.0\.0\.1:9/);
    }
  }
  assert.doesNotMatch(service.logText(), /hunter2/);
});
