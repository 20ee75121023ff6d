/** `/policy/{reference}`, as operators see it. */

import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { PolicyFacts } from '../../../src/pull/policy/explain.ts';
import { startFakeRegistry } from '../../support/fake-registry.ts';
import { assertError } from '../../support/reading.ts';
import { type Reply, startTestService, type TestService } from '../../support/service.ts';
import { makeSigningKey } from '../../support/signing.ts';
import { recordSpans } from '../../support/span-recorder.ts';
import { makeCertificates, makeOtherCertificates } from '../../support/tls.ts';

const recorder = recordSpans();

const JSON_HEADERS = { accept: 'application/json' };

/** Part of every secret: no answer and no log line may have it. */
const SENTINEL = 'Sentinel7Q';
const AUTH = Buffer.from(`robot:${SENTINEL}-entry`).toString('base64');

/** The lines of an answer by their names. */
function linesOf(reply: Reply): Readonly<Record<string, string>> {
  assert.equal(reply.status, 200, reply.body.toString());
  const lines = reply.body.toString().trimEnd().split('\n');
  return Object.fromEntries(lines.map((line) => [line.slice(0, 13).trim(), line.slice(13)]));
}

async function policyOf(service: TestService, reference: string) {
  return linesOf(await service.request(`/policy/${reference}`));
}

async function factsOf(service: TestService, reference: string): Promise<PolicyFacts> {
  const reply = await service.request(`/policy/${reference}`, { headers: JSON_HEADERS });
  assert.deepEqual([reply.status, reply.headers['content-type']], [200, 'application/json']);
  return JSON.parse(reply.body.toString()) as PolicyFacts;
}

/** Files of an operator, and a helper program that leaves a mark when it runs. */
let folder = '';
let ran = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'policy-'));
  ran = join(folder, 'ran');
  await mkdir(ran);
  await mkdir(join(folder, 'bin'));
  const program = join(folder, 'bin', 'docker-credential-mark');
  await writeFile(
    program,
    `#!/bin/sh\n: > '${ran}/mark'\necho '{"Username":"u","Secret":"${SENTINEL}-helper"}'\n`,
  );
  await chmod(program, 0o755);
  const write = (name: string, content: unknown) =>
    writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  await write('auth.json', {
    auths: {
      'ghcr.io': { auth: AUTH },
      'ghcr.io/org': { auth: AUTH },
      'mirror.example/hub': { identitytoken: `${SENTINEL}-identity` },
    },
    credHelpers: { 'helped.example': 'mark' },
  });
  await write('password', `${SENTINEL}-password`);
  await write('token', `${SENTINEL}-token`);
  await write('cosign.pub', makeSigningKey().pem);
  await write('other.pub', makeSigningKey().pem);
});
after(() => rm(folder, { recursive: true }));

const path = (name: string) => join(folder, name);

describe('credentials', () => {
  /** The line; `…/` in it stands for the folder. */
  const table: readonly [name: string, env: () => Record<string, string>, reference: string, line: string][] =
    [
      ['none', () => ({}), 'ghcr.io/a/b', "the client's if it sends some, else none: anonymous"],
      [
        'required of the client',
        () => ({ REGISTRY_CLIENT_AUTH: 'required', REGISTRY_USERNAME: 'u', REGISTRY_PASSWORD: SENTINEL }),
        'ghcr.io/a/b',
        "the client's alone: it must send them, as REGISTRY_CLIENT_AUTH=required says; without them 401",
      ],
      [
        'the client ignored',
        () => ({ REGISTRY_CLIENT_AUTH: 'off' }),
        'ghcr.io/a/b',
        "none: anonymous; the client's are ignored: REGISTRY_CLIENT_AUTH=off",
      ],
      [
        'variables',
        () => ({ REGISTRY_USERNAME: 'u', REGISTRY_PASSWORD: SENTINEL }),
        'ghcr.io/a/b',
        "the client's if it sends some, else REGISTRY_USERNAME and REGISTRY_PASSWORD; they go to every registry",
      ],
      [
        'variables with files, bound',
        () => ({
          REGISTRY_USERNAME: 'u',
          REGISTRY_PASSWORD_FILE: path('password'),
          REGISTRY_CREDENTIALS_HOSTS: 'ghcr.io',
        }),
        'ghcr.io/a/b',
        "the client's if it sends some, else REGISTRY_USERNAME and REGISTRY_PASSWORD_FILE",
      ],
      [
        'variables of another registry',
        () => ({
          REGISTRY_USERNAME: 'u',
          REGISTRY_PASSWORD: SENTINEL,
          REGISTRY_CREDENTIALS_HOSTS: 'ghcr.io',
        }),
        'quay.io/a/b',
        "the client's if it sends some, else none: anonymous; this registry may not receive those of " +
          'REGISTRY_USERNAME and REGISTRY_PASSWORD',
      ],
      [
        'a token, before the client',
        () => ({ REGISTRY_TOKEN: SENTINEL, REGISTRY_CREDENTIALS_HOSTS: 'ghcr.io' }),
        'ghcr.io/a/b',
        'REGISTRY_TOKEN',
      ],
      [
        'the file of a token',
        () => ({ REGISTRY_BEARER_TOKEN_FILE: path('token'), REGISTRY_CREDENTIALS_HOSTS: 'ghcr.io' }),
        'ghcr.io/a/b',
        'REGISTRY_BEARER_TOKEN_FILE',
      ],
      [
        'an entry, before variables',
        () => ({
          REGISTRY_AUTH_FILE: path('auth.json'),
          REGISTRY_USERNAME: 'u',
          REGISTRY_PASSWORD: SENTINEL,
          REGISTRY_CREDENTIALS_HOSTS: 'ghcr.io',
        }),
        'ghcr.io/a/b',
        'the client\'s if it sends some, else entry "ghcr.io" of …/auth.json',
      ],
      [
        'the entry with the longest path',
        () => ({ REGISTRY_AUTH_FILE: path('auth.json') }),
        'ghcr.io/org/b',
        'the client\'s if it sends some, else entry "ghcr.io/org" of …/auth.json',
      ],
      [
        'a helper program, which may have none',
        () => ({ REGISTRY_AUTH_FILE: path('auth.json'), PATH: `${path('bin')}:${process.env['PATH']}` }),
        'helped.example/a/b',
        "the client's if it sends some, else program docker-credential-mark, which …/auth.json names, else none: anonymous",
      ],
      [
        'a registry that the file does not list',
        () => ({ REGISTRY_AUTH_FILE: path('auth.json') }),
        'quay.io/a/b',
        "the client's if it sends some, else none: anonymous",
      ],
    ];
  for (const [name, env, reference, line] of table) {
    test(name, async () => {
      await using service = await startTestService(env());
      const { credentials = '' } = await policyOf(service, reference);
      assert.equal(credentials.replaceAll(folder, '…'), line);
      assert.deepEqual(await readdir(ran), [], 'a helper program has run');
    });
  }
});

describe('registry, platform and signature', () => {
  const table: readonly [
    env: () => Record<string, string>,
    reference: string,
    lines: Readonly<Record<string, string>>,
  ][] = [
    [
      () => ({}),
      'nginx',
      {
        reference: 'docker.io/library/nginx:latest',
        registry: 'docker.io: https://registry-1.docker.io, Docker Hub',
        allowed: 'yes: REGISTRY_ALLOWED_HOSTS is not set, so every registry is',
        platform: 'linux/amd64 (DEFAULT_PLATFORM)',
        namespace: 'library: added to this name',
        token: 'from https://auth.docker.io/token',
        mirrors: 'none',
        tls: 'the certificate is verified; no files for this registry in REGISTRY_CERTS_DIR',
        signature: 'none is asked for: SIGNATURE_KEYS is not set',
      },
    ],
    [
      () => ({ REGISTRY_ALLOWED_HOSTS: 'ghcr.io', REGISTRY_PLAIN_HTTP_HOSTS: 'lab.example' }),
      'lab.example/app:1?platform=ir1101',
      {
        registry: 'lab.example: http://lab.example, http because REGISTRY_PLAIN_HTTP_HOSTS lists it',
        allowed: 'no: REGISTRY_ALLOWED_HOSTS does not list it',
        platform: 'linux/arm64',
        namespace: 'none',
        token: 'where the registry says',
        tls: 'none: it is asked over http',
      },
    ],
    [
      () => ({ REGISTRY_ALLOWED_HOSTS: 'ghcr.io' }),
      'ghcr.io/org/app',
      {
        registry: 'ghcr.io: https://ghcr.io, https because nothing says otherwise',
        allowed: 'yes: REGISTRY_ALLOWED_HOSTS lists it',
      },
    ],
    [
      () => ({
        REGISTRY_URL: 'https://reg.example:5000',
        REGISTRY_ALLOWED_HOSTS: 'ghcr.io',
        REGISTRY_AUTH_URL: `https://auth.example/token?key=${SENTINEL}`,
        REGISTRY_INSECURE_HOSTS: 'reg.example',
      }),
      'org/app',
      {
        registry: 'reg.example:5000: https://reg.example:5000, as REGISTRY_URL says',
        allowed: 'yes: the reference names no registry, and the configured one needs no entry',
        token: 'from https://auth.example/token',
        tls:
          'the certificate is not verified: REGISTRY_INSECURE_HOSTS or --insecure; ' +
          'no files for this registry in REGISTRY_CERTS_DIR',
      },
    ],
    [
      () => ({ REGISTRY_AUTH_URL: '' }),
      'localhost:5000/app',
      {
        registry: 'localhost:5000: http://localhost:5000, http because the address is of this machine',
      },
    ],
    [
      () => ({
        SIGNATURE_KEYS: `${path('cosign.pub')},${path('other.pub')}`,
        SIGNATURE_REQUIRED_FOR: 'ghcr.io/*',
      }),
      'ghcr.io/org/app',
      { signature: 'required: by …/cosign.pub or …/other.pub; SIGNATURE_REQUIRED_FOR has ghcr.io/*' },
    ],
    [
      () => ({ SIGNATURE_KEYS: path('cosign.pub'), SIGNATURE_REQUIRED_FOR: 'ghcr.io/*' }),
      'quay.io/org/app',
      { signature: 'none is asked for: SIGNATURE_REQUIRED_FOR does not list it' },
    ],
    [
      () => ({
        SIGNATURE_KEYS: path('cosign.pub'),
        SIGNATURE_POLICY: 'warn',
        SIGNATURE_MATCH_REPOSITORY: 'yes',
      }),
      'nginx',
      {
        signature:
          'one is looked for, and its lack is only logged: by …/cosign.pub, for this repository; SIGNATURE_REQUIRED_FOR has *',
      },
    ],
  ];
  for (const [env, reference, expected] of table) {
    test(`${reference}: ${Object.keys(expected).join(', ')}`, async () => {
      await using service = await startTestService(env());
      const lines = await policyOf(service, reference);
      for (const [name, fact] of Object.entries(expected))
        assert.equal(lines[name]?.replaceAll(folder, '…'), fact, name);
    });
  }
});

describe('mirrors', () => {
  const account = () => ({
    REGISTRY_AUTH_FILE: path('auth.json'),
    REGISTRY_MIRRORS: 'docker.io=http://plain.example|https://mirror.example/hub',
  });
  const confirmed = 'it gives layers alone, after the registry has confirmed them';
  const entry = 'entry "mirror.example/hub" of …/auth.json';
  const table: readonly [env: () => Record<string, string>, first: string, second: string][] = [
    [account, 'none: anonymous; its answers count', `${entry}; ${confirmed}`],
    [
      () => ({ ...account(), REGISTRY_CLIENT_AUTH: 'off' }),
      'none: anonymous; its answers count',
      `${entry}; its answers count`,
    ],
    [
      () => ({ ...account(), REGISTRY_CLIENT_AUTH: 'required' }),
      `none: anonymous; ${confirmed}`,
      `${entry}; ${confirmed}`,
    ],
    [
      () => ({
        ...account(),
        REGISTRY_USERNAME: 'u',
        REGISTRY_PASSWORD: SENTINEL,
        REGISTRY_CREDENTIALS_HOSTS: 'docker.io',
      }),
      'none: anonymous; its answers count',
      `${entry}; its answers count`,
    ],
  ];
  for (const [env, first, second] of table) {
    test(JSON.stringify([first, second]), async () => {
      await using service = await startTestService(env());
      const lines = await policyOf(service, 'nginx');
      assert.equal(lines['mirror 1'], `http://plain.example; ${first}; it is asked`);
      assert.equal(
        lines['mirror 2']?.replaceAll(folder, '…'),
        `https://mirror.example/hub; ${second}; it is asked`,
      );
      assert.equal((await policyOf(service, 'quay.io/a/b'))['mirrors'], 'none');
    });
  }

  test('one that has failed is left alone, here and on the status', async () => {
    await using registry = await startFakeRegistry();
    await using mirror = await startFakeRegistry();
    await mirror.close();
    await using service = await startTestService({
      REGISTRY_URL: registry.origin,
      REGISTRY_MIRRORS: `*=${mirror.origin}`,
    });
    const before = Date.now();
    await service.request('/manifest/team/app:1');
    const [first] = (await factsOf(service, 'team/app:1')).mirrors;
    assert.equal(first?.state?.state, 'left-alone');
    const [since, until] = [Date.parse(first.state.since ?? ''), Date.parse(first.state.until ?? '')];
    // Both are told by two clocks.
    assert.ok(since >= before - 1000 && since <= Date.now() + 1000);
    assert.ok(until > Date.now() && until - since <= 31_000);
    const line = (await policyOf(service, 'team/app:1'))['mirror 1'] ?? '';
    assert.match(line, /; it fails since \S+Z, and is left alone until \S+Z: .*refused/);
    const status = JSON.parse((await service.request('/status')).body.toString());
    assert.equal(status.mirrors.length, 1);
    assert.deepEqual([status.mirrors[0].mirror, status.mirrors[0].state], [mirror.origin, 'left-alone']);
    const page = await service.request('/status', { headers: { accept: 'text/html' } });
    assert.match(page.body.toString(), /<h2 id="mirrors">Mirrors<\/h2>.*<td class="bad">left alone<\/td>/s);
  });
});

describe('certificates', () => {
  test('are those of the folder of the registry, with their expiry', async () => {
    const [good, expired] = await Promise.all([makeCertificates(), makeOtherCertificates(-1)]);
    const certs = path('certs');
    await mkdir(join(certs, 'reg.example'), { recursive: true });
    const write = (name: string, text: string) => writeFile(join(certs, 'reg.example', name), text);
    await write('ca.crt', good.ca);
    await write('client.cert', good.clientCert);
    await write('client.key', good.clientKey);
    await using service = await startTestService({ REGISTRY_CERTS_DIR: certs });
    const { tls = '' } = await policyOf(service, 'reg.example/app');
    assert.match(
      tls.replaceAll(folder, '…'),
      /^the certificate is verified; files of …\/certs\/reg\.example; authorities ca\.crt \(valid until \d{4}-\d\d-\d\d\); client certificate client\.cert \(valid until \d{4}-\d\d-\d\d\)$/,
    );
    await using required = await startTestService({
      REGISTRY_CERTS_DIR: certs,
      REGISTRY_CLIENT_AUTH: 'required',
    });
    assert.deepEqual((await factsOf(required, 'reg.example/app')).tls.clientCertificates, []);
    await write('old.crt', expired.cert);
    const later = await policyOf(service, 'reg.example/app');
    assert.match(later['tls'] ?? '', /authorities ca\.crt \(valid [^)]+\), old\.crt \(expired on [^)]+\)/);
    await write('ca.crt', `${SENTINEL} is no certificate`);
    const broken = await policyOf(service, 'reg.example/app');
    assert.match(broken['tls'] ?? '', /ca\.crt \(cannot be read\).*; Cannot use REGISTRY_CERTS_DIR, /);
  });
});

describe('the answer', () => {
  test('is text, or JSON for those who ask for it, and is not kept', async () => {
    await using service = await startTestService();
    const text = await service.request('/policy/nginx');
    const head = await service.request('/policy/nginx', { method: 'HEAD' });
    assert.deepEqual(
      ['content-type', 'cache-control', 'vary'].map((name) => text.headers[name]),
      ['text/plain; charset=utf-8', 'no-store', 'Accept'],
    );
    assert.deepEqual(
      [head.status, head.body.length, head.headers['content-length']],
      [200, 0, String(text.body.length)],
    );
    const { reference, allowed, credentials } = await factsOf(service, 'nginx');
    assert.deepEqual(
      [reference, allowed, credentials.client, credentials.sources],
      ['docker.io/library/nginx:latest', true, 'optional', [{ type: 'client' }]],
    );
    const server = recorder.spans.find(({ name }) => name === 'GET /policy/{reference}');
    assert.equal(server?.attributes['http.route'], '/policy/{reference}');
  });

  test('needs no registry', async () => {
    await using registry = await startFakeRegistry();
    await using service = await startTestService({
      REGISTRY_URL: registry.origin,
      REGISTRY_MIRRORS: `*=${registry.origin}/mirror`,
    });
    await policyOf(service, 'team/app:1');
    await factsOf(service, 'team/app:1');
    assert.deepEqual(registry.requests, []);
  });

  for (const [query, status, line] of [
    ['nginx?plattform=linux/amd64', 400, /^Unknown parameter: .* did you mean platform\?/],
    ['nginx?since=1', 400, /^Unknown parameter: .* this route takes platform/],
    ['nginx?platform=nosuch', 400, /^Invalid platform: /],
    ['', 400, /^Invalid image reference: /],
    ['nginx:a%0ab', 400, /^Invalid image reference: .*control character/],
    [`user:${SENTINEL}@ghcr.io/a/b`, 400, /^Invalid image reference: .*it holds an @/],
    ['a/../../b', 400, /^Invalid image reference: /],
    [`${'a'.repeat(300)}`, 400, /^Invalid image reference: /],
  ] as const) {
    test(`of ${query.slice(0, 40)} is ${status}`, async () => {
      await using service = await startTestService();
      const reply = await service.request(`/policy/${query}`);
      assertError(reply, status, line);
      assert.ok(!`${reply.body}${service.logText()}`.includes(SENTINEL));
    });
  }

  test('is for operators', async () => {
    await using service = await startTestService({ STATUS_ALLOWED_NETWORKS: '10.0.0.0/8' });
    await using local = await startTestService();
    for (const reply of [
      await service.request('/policy/nginx'),
      await local.request('/policy/nginx', { headers: { host: 'evil.example' } }),
      await local.request('/policy/nginx', { headers: { 'x-forwarded-for': '127.0.0.1' } }),
    ])
      assertError(reply, 403, /^Client not allowed: /);
  });

  test('has no secret, from whatever source', async () => {
    const common = {
      REGISTRY_URL: 'https://ghcr.io',
      REGISTRY_AUTH_FILE: path('auth.json'),
      REGISTRY_AUTH_URL: `https://auth.example/token?key=${SENTINEL}`,
      REGISTRY_MIRRORS: 'ghcr.io=https://mirror.example/hub,helped.example=https://helped.example:444/x',
      PATH: `${path('bin')}:${process.env['PATH']}`,
    };
    const environments = [
      { ...common, REGISTRY_USERNAME: `${SENTINEL}-user`, REGISTRY_PASSWORD: `${SENTINEL}-password` },
      { ...common, REGISTRY_USERNAME_FILE: path('password'), REGISTRY_PASSWORD_FILE: path('password') },
      { ...common, REGISTRY_BEARER_TOKEN: `${SENTINEL}-token` },
      { ...common, REGISTRY_TOKEN_FILE: path('token') },
    ];
    const client = Buffer.from(`user:${SENTINEL}-client`).toString('base64');
    for (const env of environments) {
      await using service = await startTestService(env);
      for (const reference of ['org/app', 'ghcr.io/a/b', 'helped.example/a/b', 'quay.io/a/b']) {
        for (const accept of ['*/*', 'application/json']) {
          const headers = { accept, authorization: `Basic ${client}` };
          const reply = await service.request(`/policy/${reference}`, { headers });
          assert.equal(reply.status, 200);
          const shown = [JSON.stringify(reply.headers), reply.body.toString(), service.logText()].join('\n');
          for (const secret of [SENTINEL, AUTH, client]) assert.ok(!shown.includes(secret), secret);
        }
      }
      assert.deepEqual(await readdir(ran), [], 'a helper program has run');
    }
    assert.ok(recorder.spans.every((span) => !JSON.stringify(span.attributes).includes(SENTINEL)));
  });
});
