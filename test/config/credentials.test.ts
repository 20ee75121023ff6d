import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { headersInFiles } from '../../src/config/telemetry.ts';

const TWINS = [
  'REGISTRY_USERNAME',
  'REGISTRY_PASSWORD',
  'REGISTRY_BEARER_TOKEN',
  'REGISTRY_TOKEN',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_EXPORTER_OTLP_TRACES_HEADERS',
  'OTEL_EXPORTER_OTLP_METRICS_HEADERS',
  'OTEL_EXPORTER_OTLP_LOGS_HEADERS',
];

/** What a password needs beside it. */
const besides = (name: string) => (name === 'REGISTRY_PASSWORD' ? { REGISTRY_USERNAME: 'user' } : {});

async function openFolder() {
  const path = await mkdtemp(join(tmpdir(), 'secrets-'));
  return {
    path,
    write: async (content: string | Uint8Array) => {
      await writeFile(join(path, 'secret'), content);
      return join(path, 'secret');
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

describe('a secret in a file', () => {
  const read: readonly [content: string, secret: string][] = [
    ['pa#ss w"rd', 'pa#ss w"rd'],
    ['secret\n', 'secret'],
    ['secret\r\n', 'secret'],
    [' secret ', ' secret '],
    ['\ufeffsecret', 'secret'],
    ['pässwörd', 'pässwörd'],
  ];
  for (const [content, secret] of read) {
    test(`${JSON.stringify(content)} is ${JSON.stringify(secret)}`, async () => {
      await using folder = await openFolder();
      const variables = { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD_FILE: await folder.write(content) };
      const { basic } = loadConfig(variables).registry.credentials;
      assert.deepEqual(basic, { username: 'user', password: secret });
    });
  }

  for (const name of TWINS) {
    test(`of ${name} is refused beside the variable, and where it cannot be used`, async () => {
      await using folder = await openFolder();
      const twin = `${name}_FILE`;
      const refused = async (content: string, why: string) => {
        const path = await folder.write(content);
        assert.throws(() => loadConfig({ ...besides(name), [twin]: path }), {
          code: 'INVALID_CONFIGURATION',
          message: `Cannot use ${twin}="${path}": ${why}`,
        });
      };
      const lines = 'it has several lines or control characters, and one secret is expected';
      await refused('', 'it is empty');
      await refused('\n', 'it is empty');
      await refused('hunter2\n\n', lines);
      await refused('hunter2\nhunter2', lines);
      await refused('x'.repeat(64 * 1024 + 1), 'it has more than 65536 bytes');
      const path = await folder.write('a=hunter2');
      assert.throws(() => loadConfig({ ...besides(name), [name]: 'a=hunter2', [twin]: path }), {
        code: 'INVALID_CONFIGURATION',
        message: `Cannot use ${twin}: ${name} is set, too`,
      });
      assert.ok(loadConfig({ ...besides(name), [name]: '', [twin]: path }));
      assert.ok(loadConfig({ ...besides(name), [name]: 'a=hunter2', [twin]: ' ' }));
      await rm(path);
      await mkdir(path);
      assert.throws(() => loadConfig({ ...besides(name), [twin]: path }), {
        message: `Cannot use ${twin}="${path}": it is a folder`,
      });
    });
  }

  test('is checked as the variable is', async () => {
    await using folder = await openFolder();
    const path = await folder.write('hun ter:2');
    for (const [name, why] of [
      ['REGISTRY_USERNAME', 'expected no colon, at which Basic ends a user name'],
      ['REGISTRY_TOKEN', 'expected printable ASCII without spaces'],
      ['OTEL_EXPORTER_OTLP_HEADERS', 'expected name=value, separated by commas, in printable ASCII'],
    ]) {
      assert.throws(() => loadConfig({ [`${name}_FILE`]: path }), {
        message: `Cannot use ${name}_FILE="${path}": ${why}`,
      });
      assert.throws(() => loadConfig({ [name ?? '']: 'hun ter:2' }), {
        message: `Cannot use ${name} (its value is not shown): ${why}`,
      });
    }
  });

  test('changes while the service runs', async () => {
    await using folder = await openFolder();
    const path = await folder.write('one');
    const { credentials, files } = loadConfig({ REGISTRY_TOKEN_FILE: path }).registry;
    assert.equal(credentials.bearerToken, 'one');
    await folder.write('two');
    await files?.watched.refresh(true);
    assert.equal(credentials.bearerToken, 'two');
    await folder.write('t w o');
    await files?.watched.refresh(true);
    assert.equal(credentials.bearerToken, 'two');
  });

  test('with the headers of exports is read for the SDK', async () => {
    await using folder = await openFolder();
    const path = await folder.write('api-key=hunter2\n');
    const environment = { OTEL_EXPORTER_OTLP_TRACES_HEADERS_FILE: path, OTEL_EXPORTER_OTLP_HEADERS: 'a=b' };
    assert.deepEqual(headersInFiles(environment), { OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'api-key=hunter2' });
    assert.deepEqual(headersInFiles({}), {});
  });
});

describe('REGISTRY_AUTH_FILE', () => {
  const refusals: readonly [content: string, why: string][] = [
    ['{"auths": hunter2', 'it is not JSON'],
    [' \n', 'it is empty'],
    ['{"auths": {"ghcr.io": {"auth": "hunter2!"}}}', 'entry "ghcr.io" has a field auth that is not base64'],
    [
      '{"auths": {"https://me:hunter2@ghcr.io": {"auth": "!"}}}',
      'entry "[redacted]@ghcr.io" has a field auth that is not base64',
    ],
    ['{"credHelpers": {"ghcr.io": 7}}', 'its helper for "ghcr.io" is no text'],
    [
      '{"credsStore": "../x"}',
      'credential helper "../x" is no name: expected the part behind "docker-credential-" in the name of a program',
    ],
  ];
  for (const [content, why] of refusals) {
    test(`is refused at the start: ${why}`, async () => {
      await using folder = await openFolder();
      const path = await folder.write(content);
      assert.throws(() => loadConfig({ REGISTRY_AUTH_FILE: path }), {
        code: 'INVALID_CONFIGURATION',
        message: `Cannot use REGISTRY_AUTH_FILE="${path}": ${why}`,
      });
    });
  }

  test('takes a pull secret as Kubernetes mounts it', async () => {
    await using folder = await openFolder();
    const auth = Buffer.from('robot:hunter2').toString('base64');
    const secret = { auths: { 'ghcr.io': { username: 'robot', password: 'hunter2', email: 'a@b.c', auth } } };
    const path = await folder.write(JSON.stringify(secret));
    const { files, credentials } = loadConfig({ REGISTRY_AUTH_FILE: path }).registry;
    assert.ok(files);
    assert.deepEqual([credentials.basic, credentials.bearerToken], [undefined, undefined]);
  });
});
