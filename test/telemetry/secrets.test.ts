/** Spans, metrics and logs contain no credentials, tokens and signatures of registries. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type FakeRegistryOptions, startFakeRegistry } from '../support/fake-registry.ts';
import { TokenStore } from '../support/fake-token.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { basic } from '../support/pair.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { serveSignedBlobs, URL_SIGNATURE } from '../support/signed-blobs.ts';
import { startWatched } from './leaks.ts';

const REPOSITORY = 'team/secretive';
const FILE = '/docker/team_secretive_1.tar';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] });

/** Passwords with characters that need escapes in each encoding. */
const PASSWORD = 'Gk4/vR+2m@xQ:7ü%41"z';
const WRONG_PASSWORD = 'Xt8/wB+5n@yL:3ö%42"q';
const USER = 'puller-1';

async function startRegistry(options: FakeRegistryOptions) {
  const registry = await startFakeRegistry(options);
  registry.push(REPOSITORY, '1', IMAGE);
  return registry;
}

/** A token store that records its tokens. */
class KnownTokens extends TokenStore {
  readonly issued: string[] = [];

  override issue(...args: Parameters<TokenStore['issue']>): string {
    const token = super.issue(...args);
    this.issued.push(token);
    return token;
  }
}

/** A password, and its header. */
function secretsOf(password: string): Record<string, string> {
  return {
    [`password ${password}`]: password,
    [`header with ${password}`]: basic(USER, password).slice('Basic '.length),
  };
}

/** An error body that contains the message in all fields. */
function talkative(code: string, message: string): string {
  return JSON.stringify({ errors: [{ code, message, detail: message }], details: message, message });
}

describe('there is no trace of', { concurrency: true }, () => {
  test("the operator's and a client's wrong Basic credentials", async () => {
    const users = new Map([[USER, PASSWORD]]);
    await using registry = await startRegistry({ auth: { mode: 'basic', users } });
    await using watched = await startWatched({
      REGISTRY_URL: registry.url,
      REGISTRY_USERNAME: USER,
      REGISTRY_PASSWORD: PASSWORD,
    });
    const path = `/registry/http/${registry.host}${FILE}`;
    assert.equal((await watched.request(FILE)).status, 200);
    registry.defects.echoAuthorizationInErrors = true;
    const wrong = { Authorization: basic(USER, WRONG_PASSWORD) };
    assert.equal((await watched.request(path, { headers: wrong })).status, 502);
    registry.auth.deniedRepositories.add(REPOSITORY);
    const denied = await watched.request(FILE);
    assert.equal(denied.status, 502);
    assert.match(denied.body.toString(), /you sent Authorization: Basic \[redacted\]/);
    for (const words of [`no ${USER}:${PASSWORD}`, `${'-'.repeat(195)}${PASSWORD}`]) {
      for (const [code, message] of [
        ['DENIED', words],
        [words, 'denied'],
      ] as const) {
        registry.defects.failWith = { status: 403, body: talkative(code, message), afterAuthorization: true };
        assert.equal((await watched.request(FILE)).status, 502);
      }
    }
    assert.ok(registry.requests.some(({ headers }) => headers.authorization === basic(USER, PASSWORD)));
    await watched.assertSilent({ ...secretsOf(PASSWORD), ...secretsOf(WRONG_PASSWORD) }, REPOSITORY);
  });

  test("a client's Basic credentials and their tokens", async () => {
    const tokens = new KnownTokens();
    const users = new Map([[USER, PASSWORD]]);
    await using registry = await startRegistry({ auth: { mode: 'token', users }, tokens });
    await using watched = await startWatched({ REGISTRY_URL: registry.url });
    const { auth } = registry;
    const key = 'realm-key-Jw6Tb1Ns9';
    const badToken = 'bad-token-Pv4Ym8Hc2 ü';
    const pull = async (password = PASSWORD) => {
      const headers = { Authorization: basic(USER, password) };
      return (await watched.request(`/registry-auth/http/${registry.host}${FILE}`, { headers })).status;
    };
    assert.equal(await pull(), 200);
    auth.realm = `${registry.url}/token?key=${key}`;
    assert.equal(await pull(), 200);
    registry.defects.echoAuthorizationInErrors = true;
    assert.equal(await pull(WRONG_PASSWORD), 502);
    auth.deniedRepositories.add(REPOSITORY);
    assert.equal(await pull(), 502);

    const talk = `${basic(USER, PASSWORD)} is ${USER}:${PASSWORD}`;
    for (const [tokenStatus, tokenBody] of [
      [401, talkative('UNAUTHORIZED', talk)],
      [400, JSON.stringify({ error: 'invalid_request', error_description: talk })],
      [403, talk],
      [200, JSON.stringify({ error: talk })],
      [200, JSON.stringify({ token: badToken })],
      [200, talk],
    ] as const) {
      Object.assign(auth, { tokenStatus, tokenBody });
      assert.equal(await pull(), 502, tokenBody);
    }
    Object.assign(auth, { tokenStatus: undefined, tokenBody: undefined });
    auth.tokenRedirectTo = `${registry.url}/elsewhere?key=${key}`;
    assert.equal(await pull(), 502);

    assert.ok(registry.tokenRequests.some(({ path }) => path.includes(key)));
    assert.ok(tokens.issued.length >= 3);
    const issued = Object.fromEntries(tokens.issued.map((token, at) => [`token ${at}`, token]));
    const secrets = { ...secretsOf(PASSWORD), ...secretsOf(WRONG_PASSWORD), ...issued, key, badToken };
    await watched.assertSilent(secrets, REPOSITORY);
  });

  test('the signature of a redirect', async () => {
    const securityToken = 'FwoGZXIvYXdzEJr4'.repeat(40);
    await using registry = await startRegistry({});
    const { defects, blobs } = registry;
    const serve = serveSignedBlobs(blobs);
    let isWilling = true;
    await using storage = await startScriptedServer((request, response, recorded) => {
      if (isWilling) return serve(request, response, recorded);
      const words = `no ${recorded.path} nor ${decodeURIComponent(recorded.path)}`;
      response.writeHead(403, { 'Content-Type': 'application/json' }).end(talkative(words, words));
    });
    await using watched = await startWatched({ REGISTRY_URL: registry.url, CACHE_MAX_BYTES: '0' });
    const query = `X-Amz-Security-Token=${encodeURIComponent(`${securityToken}/+=`)}&sig=${URL_SIGNATURE}`;
    const signed = (name: string) => `${storage.url}/signed/${name}?${query}`;
    defects.redirectBlobsTo = { to: signed };
    assert.equal((await watched.request(FILE)).status, 200);
    assert.ok(storage.requests.every(({ path }) => path.includes(securityToken)));
    isWilling = false;
    assert.equal((await watched.request(FILE)).status, 502);
    for (const location of [
      `http://${USER}:${PASSWORD.slice(0, 3)}${URL_SIGNATURE}@${storage.host}/?${query}`,
      `ftp://${storage.host}/?${query}`,
      `http://[${URL_SIGNATURE}/?${query}`,
      `http://169.254.169.254/?${query}`,
      `http://127.0.0.1:1/?${query}`,
    ]) {
      defects.redirectBlobsTo = { to: () => location };
      assert.ok((await watched.request(FILE)).status >= 400, location);
    }
    await watched.assertSilent({ signature: URL_SIGNATURE, securityToken }, REPOSITORY);
  });

  test("the operator's bearer token", async () => {
    const tokens = new TokenStore();
    const token = tokens.issue([`repository:${REPOSITORY}:pull`], 300);
    await using registry = await startRegistry({ auth: { mode: 'token' }, tokens });
    // Without a cache: revalidation with HEAD would have no error text.
    await using watched = await startWatched({
      REGISTRY_URL: registry.url,
      REGISTRY_BEARER_TOKEN: token,
      CACHE_MAX_BYTES: '0',
    });
    assert.equal((await watched.request(FILE)).status, 200);
    registry.defects.echoAuthorizationInErrors = true;
    tokens.revokeAll();
    const refused = await watched.request(FILE);
    assert.equal(refused.status, 502);
    assert.match(refused.body.toString(), /you sent Authorization: Bearer \[redacted\]/);
    await watched.assertSilent({ token }, REPOSITORY);
  });

  test('the key for the collector', async () => {
    await using registry = await startRegistry({});
    const key = 'collector-key-Lf2Dk7Ra5';
    await using watched = await startWatched({
      REGISTRY_URL: registry.url,
      OTEL_EXPORTER_OTLP_HEADERS: `x-api-key=${key}`,
    });
    assert.equal((await watched.request(FILE)).status, 200);
    await watched.assertSilent({ key }, REPOSITORY);
    assert.equal(watched.receiver.metadata[0]?.['x-api-key'], key);
  });
});
