/** What is said when a registry or a token endpoint refuses: whose credentials were used, and that they were refused or missing. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hintsFor, messageFor } from '../../../src/config/hints.ts';
import { PassthroughError } from '../../../src/errors.ts';
import type { Credential } from '../../../src/registry/auth/credentials.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { serveNames } from '../support/name-server.ts';
import { LOOPBACK, pull, REPOSITORY, startScene } from '../support/scene.ts';

const WRONG = { username: 'user', password: 'wrong' };
const GOOD = { username: 'user', password: 'secret' };
const as = (source: 'client' | 'environment' | 'file' | 'helper', basic = WRONG): Credential => ({
  type: 'basic',
  basic,
  source,
});

/** The error of a pull. */
async function errorOf(pulled: Promise<unknown>): Promise<PassthroughError> {
  try {
    await pulled;
  } catch (error) {
    assert.ok(error instanceof PassthroughError);
    return error;
  }
  throw new assert.AssertionError({ message: 'The registry has refused nothing' });
}

describe('a refusal says whose credentials', () => {
  const names: readonly [what: string, credential: Credential, service: string, commandLine: string][] = [
    ["the client's", as('client'), "the client's credentials", 'the credentials of --user'],
    [
      "the operator's",
      as('environment'),
      'the credentials of REGISTRY_USERNAME',
      'the credentials of REGISTRY_USERNAME',
    ],
    [
      'those of an auth file',
      as('file'),
      'the credentials of REGISTRY_AUTH_FILE',
      'the credentials of docker login or podman login',
    ],
    [
      'those of a helper',
      as('helper'),
      'the credentials of the credential helper',
      'the credentials of the credential helper',
    ],
  ];
  for (const [what, credential, service, commandLine] of names) {
    test(`${what}: at a registry with Basic`, async () => {
      await using scene = await startScene({ auth: { mode: 'basic' } });
      const error = await errorOf(pull(scene.open(credential)));
      const line = (name: string) =>
        `Cannot get manifest "1" of ${scene.server.host}/${REPOSITORY}: it refused ${name}: authentication required (UNAUTHORIZED)`;
      assert.equal(messageFor(error, 'service'), line(service));
      assert.equal(messageFor(error, 'commandLine'), line(commandLine));
    });

    test(`${what}: at a token endpoint`, async () => {
      await using scene = await startScene({ auth: { mode: 'token' } });
      const error = await errorOf(pull(scene.open(credential)));
      const start = `Cannot get a token from "${scene.server.origin}/token": it refused `;
      assert.equal(messageFor(error, 'service').slice(0, start.length + service.length), start + service);
      assert.ok(messageFor(error, 'commandLine').startsWith(start + commandLine));
    });
  }

  test('an account without the right: the token endpoint knows it', async () => {
    const denied = { auth: { mode: 'token', deniedRepositories: new Set([REPOSITORY]) } } as const;
    await using scene = await startScene(denied);
    const { message } = await errorOf(pull(scene.open(as('client', GOOD))));
    assert.match(message, /: access is denied to the client's credentials: /);
  });

  test('a token of the operator', async () => {
    await using scene = await startScene({ auth: { mode: 'token' } });
    const error = await errorOf(pull(scene.open({ type: 'bearer', token: 'old' })));
    assert.match(messageFor(error, 'service'), /: it refused the token of REGISTRY_BEARER_TOKEN: /);
  });
});

describe('without credentials a refusal says that there are none', () => {
  for (const mode of ['basic', 'token'] as const) {
    for (const allowAnonymous of [false, 'noAccess'] as const) {
      test(`${mode}, ${allowAnonymous}`, async () => {
        await using scene = await startScene({ auth: { mode, allowAnonymous } });
        const error = await errorOf(pull(scene.open()));
        assert.equal(error.code, 'REGISTRY_DENIED');
        assert.match(error.message, /: credentials are required, and there are none: /);
      });
    }
  }

  test('or that access is denied without them', async () => {
    await using scene = await startScene({ auth: { deniedRepositories: new Set([REPOSITORY]) } });
    const error = await errorOf(pull(scene.open()));
    assert.match(error.message, /: access is denied without credentials: /);
  });
});

test('credentials that may not reach the token endpoint: its address, and the variable', async (t) => {
  serveNames(t, LOOPBACK);
  await using realm = await startScriptedServer((_, response) => void response.writeHead(401).end());
  const address = realm.origin.replace('127.0.0.1', 'localhost');
  await using scene = await startScene({ auth: { mode: 'token', realm: `${address}/token?secret=1` } });
  const error = await errorOf(pull(scene.open(as('client'))));
  assert.equal(
    error.message,
    `Cannot get a token from "${address}/token": credentials are required, and its token endpoint "${address}/token" may not receive the client's credentials`,
  );
  assert.deepEqual(hintsFor(error, 'service'), [
    'REGISTRY_TRUSTED_REALMS lists further hosts of token endpoints that may receive credentials',
  ]);
  assert.equal(realm.requests[0]?.headers.authorization, undefined);
});

test('a registry that asks for something else than what there is', async () => {
  await using scene = await startScene({
    auth: { mode: 'basic', challengeSpelling: () => 'Negotiate' },
  });
  const { message } = await errorOf(pull(scene.open(as('client'))));
  assert.match(message, /: it asks for other credentials than the client's credentials: /);
});

test('a registry that speaks https and is asked over http', async () => {
  const texts = [
    'Client sent an HTTP request to an HTTPS server.\n',
    '<center>The plain HTTP request was sent to HTTPS port</center>',
  ];
  for (const body of texts) {
    await using scene = await startScene({ defects: { failWith: { status: 400, body } } });
    const error = await errorOf(pull(scene.client));
    assert.match(error.message, /: it speaks https, and was asked over http$/);
    assert.deepEqual(hintsFor(error, 'commandLine'), ['Add --scheme https']);
  }
});
