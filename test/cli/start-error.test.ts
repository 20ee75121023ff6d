import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startError } from '../../src/cli/start-error.ts';
import { loadConfig } from '../../src/config/config.ts';
import { isPassthroughError, PassthroughError } from '../../src/errors.ts';
import { KeyRing } from '../../src/pull/signatures/key-ring.ts';

const CONFIG = {
  http: { host: '::1', port: 80, headerTimeoutMs: 1, idleTimeoutMs: 1, maxConnections: 1 },
  cache: { directory: undefined, maxBytes: undefined, staleMs: 0 },
  listener: loadConfig({ HTTPS_PORT: '8443' }).listener,
};

describe('the error of a failed start', () => {
  const table: readonly [code: string, why: string, syscall?: string][] = [
    ['EADDRINUSE', 'the port is in use'],
    ['EADDRNOTAVAIL', 'the host is not an address of this machine'],
    ['EACCES', 'the process has no permission to use the port'],
    ['EAFNOSUPPORT', 'this machine has no network of this address family'],
    ['EINVAL', 'a link-local address needs its interface, such as fe80::1%eth0'],
    ['ENOTFOUND', 'the host name is unknown', 'getaddrinfo'],
    ['EAI_AGAIN', 'the name server does not answer', 'getaddrinfo'],
  ];
  for (const [code, why, syscall = 'listen'] of table) {
    test(`names the variables of the address: ${code}`, () => {
      const cause = Object.assign(new Error(`${syscall} ${code}`), { code, syscall });
      const error = startError(cause, CONFIG);
      assert.ok(isPassthroughError(error, 'INVALID_CONFIGURATION'));
      assert.equal(error.message, `Cannot listen on HTTP_HOST="::1" HTTP_PORT=80: ${why} (${code})`);
      assert.equal(error.cause, cause);
    });
  }

  for (const [port, address] of [
    [80, 'HTTP_HOST="::1" HTTP_PORT=80'],
    [8443, 'HTTP_HOST="::1" HTTPS_PORT=8443'],
  ] as const) {
    test(`names the variable of the port: ${port}`, () => {
      const cause = Object.assign(new Error('listen'), { code: 'EADDRINUSE', syscall: 'listen', port });
      const { message } = startError(cause, CONFIG) as Error;
      assert.equal(message, `Cannot listen on ${address}: the port is in use (EADDRINUSE)`);
    });
  }

  const folders: readonly [directory: string | undefined, variable: string][] = [
    [undefined, 'WORKSPACE_DIR'],
    ['/cache', 'CACHE_DIR'],
  ];
  for (const [directory, variable] of folders) {
    test(`names the variable of the folder: ${variable}`, () => {
      const cause = new PassthroughError(
        'INVALID_CONFIGURATION',
        'Cannot use folder "/x": it is not a folder',
        {
          folder: '/x',
          reason: 'it is not a folder',
        },
      );
      const error = startError(cause, { ...CONFIG, cache: { ...CONFIG.cache, directory } });
      assert.ok(isPassthroughError(error, 'INVALID_CONFIGURATION'));
      assert.equal(error.message, `Cannot use ${variable}="/x": it is not a folder`);
    });
  }

  test('names the variable of a key', async () => {
    const cause = await KeyRing.open(['/nonexistent/a.pub'], assert.fail).catch((error: unknown) => error);
    const error = startError(cause, CONFIG);
    assert.ok(isPassthroughError(error, 'INVALID_CONFIGURATION'));
    assert.equal(error.message, 'Cannot use SIGNATURE_KEYS: key "/nonexistent/a.pub": it does not exist');
  });

  test('is unchanged for other causes', () => {
    const others = [
      new PassthroughError('INTERNAL', 'a fault'),
      Object.assign(new Error('listen EMFILE'), { code: 'EMFILE', syscall: 'listen' }),
      Object.assign(new Error('open EACCES'), { code: 'EACCES', syscall: 'open' }),
      new Error('no code'),
      'no error',
    ];
    for (const error of others) assert.equal(startError(error, CONFIG), error);
  });
});
