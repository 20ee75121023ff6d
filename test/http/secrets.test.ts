/** Passwords, tokens and signed URLs appear neither in answers nor in the log. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makeImage, makeLayer } from '../support/image.ts';
import { basic, type Pair, type PairOptions, startPair } from '../support/pair.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import type { Reply } from '../support/service.ts';
import { serveSignedBlobs, URL_SIGNATURE } from '../support/signed-blobs.ts';

const IMAGE = makeImage({ layers: [{ tar: makeLayer({ 'etc/hello': 'hello' }) }] });
const FILE = '/docker/team_app_1.tar';

function start(options: PairOptions = {}): Promise<Pair> {
  return startPair(options, (registry) => registry.push('team/app', '1', IMAGE));
}

describe('secrets', () => {
  /** Checks that neither answers nor the log contain secrets. */
  function assertHidden({ service }: Pair, replies: readonly Reply[], secrets: readonly string[]): void {
    const answers = replies.map(
      ({ reason, headers, body }) => `${reason}${JSON.stringify(headers)}${body.toString('latin1')}`,
    );
    const text = [service.logText(), ...answers].join('\n');
    for (const secret of secrets) {
      assert.notEqual(secret, '');
      assert.ok(!text.includes(secret), `${secret} is shown`);
    }
  }

  /** The credentials that the registry and its token endpoint have received. */
  function credentialsSentTo({ registry }: Pair): string[] {
    const values = registry.requests.flatMap(({ headers }) => headers.authorization ?? []);
    return [...new Set(values.map((value) => value.replace(/^\S+ /, '')))];
  }

  const PASSWORD = 'correct-horse-battery';
  const users = new Map([['user', PASSWORD]]);
  const ENV = { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: PASSWORD };
  const CLIENT = { authorization: basic('user', PASSWORD) };
  const BASIC: PairOptions['auth'] = { mode: 'basic', users };
  const TOKEN: PairOptions['auth'] = { mode: 'token', users, allowAnonymous: false };

  for (const [what, auth, env, headers] of [
    ['Basic credentials of the client', BASIC, {}, CLIENT],
    ['credentials of the client for a token', TOKEN, {}, CLIENT],
    ['Basic credentials of the operator', BASIC, ENV, {}],
    ['credentials of the operator for a token', TOKEN, ENV, {}],
  ] as const) {
    test(`in ${what} and in signed URLs are not shown, in success and failure`, async () => {
      await using storage = await startScriptedServer((request, response, recorded) =>
        serveSignedBlobs(pair.registry.blobs)(request, response, recorded),
      );
      await using pair = await start({ auth, env });
      const { defects, tokens } = pair.registry;
      const replies: Reply[] = [];
      const request = async (path: string, accept = '*/*') => {
        const reply = await pair.request(path, { headers: { ...headers, accept } });
        replies.push(reply);
        return reply.status;
      };
      assert.equal(await request(FILE), 200);
      defects.redirectBlobsTo = storage.origin;
      assert.equal(await request(FILE), 200);
      assert.ok(storage.countRequests(new RegExp(URL_SIGNATURE)) > 0, 'signed URLs are used');

      defects.echoAuthorizationInErrors = true;
      for (const accept of ['*/*', 'application/problem+json']) {
        assert.equal(await request('/docker/team_app_9.tar', accept), 502);
        defects.failWith = { status: 403, afterAuthorization: true };
        assert.equal(await request(FILE, accept), 502);
        defects.failWith = undefined;
      }
      // Storage that answers 404, and storage that does not listen.
      for (const origin of [`${storage.origin}/nowhere`, 'http://127.0.0.1:1']) {
        defects.redirectBlobsTo = origin;
        assert.equal(await request(FILE), 502);
      }
      // A token endpoint that repeats the refused credentials.
      tokens.revokeAll();
      pair.registry.auth.users = new Map([['user', 'another password']]);
      assert.equal(await request(FILE), 502);

      const sent = credentialsSentTo(pair);
      assert.ok(sent.length > 0, 'credentials are sent');
      assertHidden(pair, replies, [...sent, PASSWORD, URL_SIGNATURE, 'X-Amz-Signature']);
    });
  }

  test('in a token of the operator are not shown', async () => {
    const token = 'operator-token-1234';
    await using pair = await start({
      auth: { mode: 'token' },
      defects: { echoAuthorizationInErrors: true },
      env: { REGISTRY_BEARER_TOKEN: token },
    });
    const reply = await pair.request(FILE);
    assert.equal(reply.status, 502);
    assert.ok(credentialsSentTo(pair).includes(token), 'the token is sent');
    assertHidden(pair, [reply], [token]);
  });

  test('in a malformed Authorization header are not shown', async () => {
    await using pair = await start();
    const reply = await pair.request(FILE, { headers: { authorization: `Bearer ${PASSWORD}` } });
    assert.equal(reply.status, 401);
    assertHidden(pair, [reply], [PASSWORD]);
  });
});
