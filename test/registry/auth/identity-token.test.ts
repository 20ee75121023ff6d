import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { Credential } from '../../../src/registry/auth/credentials.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import {
  alias,
  headersOf,
  IMAGE,
  openAccess,
  pull,
  SCOPE,
  startRegistry,
  startScene,
} from '../support/scene.ts';

const SECRET = 'refresh/token+7Q==';
const IDENTITY: Credential = { type: 'identity', identity: { identityToken: SECRET } };

/** A registry, and a realm apart from it that gives the registry's tokens and records the bodies of its requests. */
async function startWithRealm(answer: { readonly status?: number; readonly body?: string } = {}) {
  await using stack = new AsyncDisposableStack();
  const bodies: string[] = [];
  const registry = stack.use(await startRegistry({ auth: { mode: 'token', allowAnonymous: 'noAccess' } }));
  const realm = stack.use(
    await startScriptedServer(async (request, response) => {
      const body = await text(request);
      bodies.push(body);
      const access_token = registry.tokens.issue(request.method === 'POST' ? [SCOPE] : [], 300);
      response.writeHead(answer.status ?? 200, { 'Content-Type': 'application/json' });
      response.end(
        answer.body ?? JSON.stringify({ access_token, refresh_token: 'another', expires_in: 300 }),
      );
    }),
  );
  registry.auth.realm = `${realm.origin}/oauth2/token?p=1`;
  const all = stack.move();
  return { registry, realm, bodies, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

test('an identity token is posted to the realm, and the answer opens the registry', async () => {
  await using scene = await startWithRealm();
  using access = openAccess();
  const repository = access.open(scene.registry, IDENTITY);
  assert.equal((await pull(repository)).digest, IMAGE.manifest.digest);
  await pull(access.open(scene.registry, IDENTITY));
  const [{ method, path, headers } = assert.fail(), ...others] = scene.realm.requests;
  assert.deepEqual([method, path, others.length], ['POST', '/oauth2/token?p=1', 0]);
  assert.equal(headers['content-type'], 'application/x-www-form-urlencoded');
  assert.equal(headers.authorization, undefined);
  assert.deepEqual(Object.fromEntries(new URLSearchParams(scene.bodies[0])), {
    grant_type: 'refresh_token',
    refresh_token: SECRET,
    service: 'fake-registry',
    scope: SCOPE,
    client_id: 'docker-http-passthrough',
  });
});

test('an identity token reaches no realm that credentials may not reach', async () => {
  await using scene = await startWithRealm();
  using access = openAccess();
  const registry = { origin: alias(scene.registry, 'localhost') };
  await assert.rejects(pull(access.open(registry, IDENTITY)), { code: 'REGISTRY_DENIED' });
  assert.deepEqual([...new Set(scene.realm.requests.map(({ method }) => method))], ['GET']);
  assert.ok(!scene.bodies.join('').includes('refresh'));
});

test('an identity token is not sent to a registry that asks for Basic', async () => {
  await using scene = await startScene({ auth: { mode: 'basic' } });
  await assert.rejects(pull(scene.open(IDENTITY)), { code: 'REGISTRY_DENIED' });
  assert.deepEqual(headersOf(scene.server), [undefined]);
});

test('a realm that refuses an identity token is quoted without the token', async () => {
  const encoded = encodeURIComponent(SECRET);
  const message = `cannot use ${SECRET} or ${encoded}`;
  const body = JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message }] });
  await using scene = await startWithRealm({ status: 401, body });
  using access = openAccess();
  await assert.rejects(pull(access.open(scene.registry, IDENTITY)), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'REGISTRY_DENIED');
    assert.match(
      error.message,
      /Cannot get a token from "http:\/\/127\.0\.0\.1:\d+\/oauth2\/token": .*cannot use/,
    );
    assert.ok(!error.message.includes(SECRET) && !error.message.includes(encoded), error.message);
    return true;
  });
});
