/** What holds for every auth file, whatever is in it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkEntries, parseAuthFile } from '../../../src/registry/auth/auth-content.ts';
import { filePlaces, lookUp } from '../../../src/registry/auth/auth-file.ts';
import { registryHost } from '../../../src/registry/registry-host.ts';
import { never } from '../support/scene.ts';
import { authOf } from './auth-files.ts';

const fail = (why: string) => new Error(why);

/** Few names, so that keys and registries meet often. */
const host = fc.constantFrom('a.example', 'b.example', 'sub.a.example', '127.0.0.1', '[::1]');
const port = fc.constantFrom('', ':443', ':5000', ':80');
const segments = fc.array(fc.constantFrom('org', 'app', 'or', 'deep'), { maxLength: 3 });
const place = fc.record({ host, port, path: segments });
const key = place.map(({ host, port, path }) => [`${host}${port}`, ...path].join('/'));
const repository = segments.map((path) => ['org', ...path].join('/'));

/** The file as a service reads it, and the credentials of a repository at an https registry in it. */
async function find(content: unknown, name: string, repository: string) {
  const file = parseAuthFile(JSON.stringify(content), fail);
  checkEntries(file, fail);
  const registry = registryHost('https', name);
  const options = { environment: {}, signal: never(), fail, isListOnly: true };
  return {
    isListed: filePlaces(file, '', registry, repository, options).length > 0,
    found: await lookUp(file, registry, repository, options),
  };
}

test('the longest key that is the registry or a path above the repository decides, and no other', async () => {
  const usualPort = (text: string) => (/:\d+$/.test(text) ? text : `${text}:443`);
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(key), host, port, repository, async (keys, host, port, repository) => {
      const auths = Object.fromEntries(keys.map((one, at) => [one, authOf(`user-${at}`, one)]));
      const { isListed, found } = await find({ auths }, `${host}${port}`, repository);
      // The rule of containers-auth.json, the slow way: cut the last segment until a key is equal.
      const target = `${usualPort(`${host}${port}`)}/${repository}`.split('/');
      const wanted = target.map((_, at) => target.slice(0, target.length - at).join('/'));
      const normal = keys.map((one) => {
        const [first = '', ...rest] = one.split('/');
        return [usualPort(first), ...rest].join('/');
      });
      const best = wanted.find((one) => normal.includes(one));
      const password = found && 'password' in found.credentials ? found.credentials.password : undefined;
      const [first = '', ...rest] = (password ?? '').split('/');
      assert.equal(password && [usualPort(first), ...rest].join('/'), best);
      assert.equal(isListed, best !== undefined);
    }),
  );
});

test('user names and passwords come back as they were written, in either form', async () => {
  const text = fc.string({ unit: 'grapheme' });
  const username = text.filter((one) => one !== '' && !one.includes(':'));
  const password = text.filter((one) => !one.includes('\0'));
  await fc.assert(
    fc.asyncProperty(username, password, fc.boolean(), async (username, password, isEncoded) => {
      const entry = isEncoded ? authOf(username, password) : { username, password };
      const { found } = await find({ auths: { 'a.example': entry } }, 'a.example', 'org/app');
      assert.deepEqual(found, { credentials: { username, password }, source: 'file' });
    }),
  );
});

test('a file is read or refused, and a refusal quotes no value of it', async () => {
  const secret = 'hunter2-7Q';
  const leaf = fc.oneof(fc.constant(secret), fc.constant(authOf('u', secret).auth), fc.jsonValue());
  const entry = fc.oneof(
    leaf,
    fc.dictionary(fc.constantFrom('auth', 'username', 'password', 'identitytoken'), leaf),
  );
  const table = fc.oneof(leaf, fc.dictionary(fc.constantFrom('a.example', 'b.example/org', ''), entry));
  const content = fc.oneof(
    leaf,
    fc.record({ auths: table, credHelpers: table, credsStore: fc.jsonValue() }, { requiredKeys: [] }),
  );
  await fc.assert(
    fc.asyncProperty(content, fc.integer({ min: 0, max: 400 }), async (content, cut) => {
      for (const text of [JSON.stringify(content), JSON.stringify(content).slice(0, cut)]) {
        try {
          const file = parseAuthFile(text, fail);
          checkEntries(file, fail);
        } catch (error) {
          assert.ok(error instanceof Error);
          assert.doesNotMatch(error.message, new RegExp(`${secret}|${authOf('u', secret).auth}`));
          assert.equal(error.cause, undefined);
        }
      }
    }),
  );
});
