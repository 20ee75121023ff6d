/** `proxy --sockfd`: a parent passes one end of a socket pair, as the Rust client of container-image-proxy does. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { machinePlatform } from '../../../src/cli/options/platform.ts';
import { builtMain } from '../../support/built-service.ts';
import { type FakeRegistry, startFakeRegistry } from '../../support/fake-registry.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { ownProcess } from '../../support/leave-nothing.ts';
import { noise } from '../../support/noise.ts';
import { within } from '../../support/within.ts';
import { run, startOf } from '../command.ts';
import { OneConnection, startProxyOnSocket } from './proxying.ts';

/** More than the system buffers between two sockets. */
const LARGE = makeLayer({ large: noise('large', 8_000_000) });
const IMAGE = makeImage({
  platform: machinePlatform(),
  layers: [{ tar: LARGE, compression: 'none' }, { tar: makeLayer({ small: 'small' }) }],
  mediaTypes: 'docker',
});
const LARGE_BLOB = IMAGE.layers[0] ?? assert.fail();

/** Runs the program with a socket as descriptor 3, asks it for a blob, does not read it, and says when the answer has begun. */
const PARENT = `
  const { spawn } = require('node:child_process');
  const [program, ref, path] = process.argv.slice(1);
  const child = spawn(process.execPath, [program, 'proxy', '--sockfd', '3', ref],
    { stdio: ['ignore', 'inherit', 'inherit', 'pipe'], env: { HOME: '/nonexistent' } });
  const socket = child.stdio[3];
  socket.write('GET ' + path + ' HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n');
  socket.once('readable', () => console.log('begun'));
`;

describe('proxy --sockfd', { concurrency: 2 }, () => {
  let registry: FakeRegistry;
  let ref = '';
  before(async () => {
    registry = await startFakeRegistry();
    registry.push('team/app', '1', IMAGE);
    ref = `${registry.host}/team/app:1`;
  });
  after(() => registry.close());

  test('serves manifest and blobs over one connection, until /quit', async () => {
    await using proxy = await startProxyOnSocket([ref]);
    const connection = new OneConnection(proxy.socket);
    const { headers, body } = await connection.request('/manifest');
    assert.equal(headers['manifest-digest'], IMAGE.manifest.digest);
    const manifest = JSON.parse(String(body));
    for (const { digest } of [...manifest.layers, manifest.config]) {
      const blob = await connection.request(`/blobs/${digest}`);
      assert.ok(blob.body.equals(registry.blobs.get(digest) ?? Buffer.of()), digest);
    }
    assert.equal((await connection.request('/none')).status, 404);
    assert.equal((await connection.request('/quit', 'POST')).status, 200);
    assert.deepEqual(await proxy.ended(), { code: 0, signal: null, stderr: '' });
  });

  test('ends when the other end closes', async () => {
    await using proxy = await startProxyOnSocket([ref]);
    assert.equal((await new OneConnection(proxy.socket).request('/manifest')).status, 200);
    proxy.socket.destroy();
    assert.deepEqual(await proxy.ended(), { code: 0, signal: null, stderr: '' });
  });

  test('ends when the other end closes before any request', async () => {
    await using proxy = await startProxyOnSocket([ref]);
    proxy.socket.destroy();
    assert.deepEqual(await proxy.ended(), { code: 0, signal: null, stderr: '' });
  });

  for (const path of ['/manifest', `/blobs/${LARGE_BLOB.digest}`]) {
    test(`ends when its parent is killed after GET ${path.slice(0, 12)}`, async () => {
      const parent = spawn(process.execPath, ['-e', PARENT, await builtMain(), ref, path], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      ownProcess(parent);
      // The proxy has these pipes, too: they close with its end.
      const closed = once(parent, 'close');
      let errors = '';
      parent.stderr.on('data', (text) => {
        errors += text;
      });
      await within(once(parent.stdout, 'data'), 'the start of the answer', 60_000);
      parent.kill('SIGKILL');
      await within(closed, 'the end of the proxy');
      assert.equal(errors, '');
    });
  }

  test('cuts the connection for a blob that is wrong, and ends', async () => {
    await using wrong = await startFakeRegistry({
      defects: { wrongBlobDigest: { digest: LARGE_BLOB.digest } },
    });
    wrong.push('team/app', '1', IMAGE);
    await using proxy = await startProxyOnSocket([`${wrong.host}/team/app:1`]);
    const connection = new OneConnection(proxy.socket);
    await assert.rejects(connection.request(`/blobs/${LARGE_BLOB.digest}`), { code: 'ECONNRESET' });
    const { code, stderr } = await proxy.ended();
    assert.equal(code, 0);
    assert.match(stderr, /^docker-http-passthrough: Cannot verify blob "sha256:/);
  });

  test('refuses a web page on the socket, too', async () => {
    await using proxy = await startProxyOnSocket([ref]);
    proxy.socket.write('GET /manifest HTTP/1.1\r\nHost: evil.example\r\n\r\n');
    const [answer] = await within(once(proxy.socket, 'data'), 'the answer');
    assert.match(String(answer), /^HTTP\/1\.1 403 /);
  });

  test('answers with 400 what is no HTTP, and fails', async () => {
    await using proxy = await startProxyOnSocket([ref]);
    proxy.socket.write('no HTTP\r\n\r\n');
    const [answer] = await within(once(proxy.socket, 'data'), 'the answer');
    assert.match(String(answer), /^HTTP\/1\.1 400 /);
    const { code, stderr } = await proxy.ended();
    assert.equal(code, 1);
    assert.match(stderr, /^docker-http-passthrough: Cannot serve the socket: Parse Error/);
  });

  test('its example with a socket runs', async () => {
    const examples = COMMANDS.find(({ name }) => name === 'proxy')?.examples ?? [];
    const [line = assert.fail()] = examples.flatMap(([text]) => (text.includes('--sockfd') ? [text] : []));
    registry.push('library/alpine', '3.20', IMAGE);
    const env = { REGISTRY_URL: registry.origin, REGISTRY_DEFAULT_NAMESPACE: 'library' };
    assert.match(line, /^proxy --sockfd 3 /);
    await using proxy = await startProxyOnSocket(line.split(' ').slice(3), env);
    assert.equal((await new OneConnection(proxy.socket).request('/manifest')).status, 200);
  });

  describe('is misused, with exit code 2:', () => {
    const table: readonly [args: readonly string[], says: RegExp, hint?: RegExp][] = [
      [['--sockfd=99'], /^Cannot use --sockfd=99: it cannot be opened \(EBADF\)$/, /connected stream socket/],
      [['--sockfd=3', '--port=1'], /^Cannot use --port: --sockfd is given, too$/],
      [['--sockfd=-1'], /^Cannot use --sockfd: expected a number from 0 to 2147483647$/],
      [['--sockfd=3000000000'], /^Cannot use --sockfd: expected a number/],
      [['--port=65536'], /^Cannot use --port: expected a number from 0 to 65535$/],
      [['--port=http'], /^Cannot use --port: expected a number/],
      [
        ['--sockfd=0', '-u', 'a', '--password-stdin'],
        /^Cannot use --password-stdin: standard input is the socket/,
      ],
      [['--platform=all'], /^Cannot use --platform all: /],
    ];
    for (const [args, says, hint] of table) {
      test(args.join(' '), async () => {
        const { code, stdout, stderr } = await run(['proxy', ...args, ref]);
        const [line = '', second = ''] = stderr.split('\n');
        assert.deepEqual([code, stdout.length], [2, 0]);
        assert.match(line.replace('docker-http-passthrough: ', ''), says);
        if (hint !== undefined) assert.match(second, hint);
      });
    }

    for (const redirection of ['3</dev/null', '3< <(:)', '3>/dev/null']) {
      test(`--sockfd=3 ${redirection}`, async () => {
        const script = `exec '${process.execPath}' '${await builtMain()}' proxy --sockfd=3 ${ref} ${redirection}`;
        const { code, stderr } = await startOf('bash', ['--norc', '-c', script], {}).ended;
        assert.equal(code, 2);
        assert.match(
          stderr,
          /^docker-http-passthrough: Cannot use --sockfd=3: it is no socket\nPass one end/,
        );
      });
    }

    test('a port that is in use', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      try {
        await once(server, 'listening');
        const { port } = server.address() as { port: number };
        const { code, stderr } = await run(['proxy', `--port=${port}`, ref]);
        assert.equal(code, 2);
        assert.equal(
          stderr,
          `docker-http-passthrough: Cannot listen on --port=${port}: the port is in use (EADDRINUSE)\n`,
        );
      } finally {
        server.close();
      }
    });
  });
});
