import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { listen } from '../support/listening.ts';
import { logOf, runProgram, startProgram, temporaryFolder } from './binary.ts';

const PACKAGE = new URL('../../package.json', import.meta.url);

/** A free port of the loopback address, and a workspace in the working directory. */
const LOCAL = { HTTP_HOST: '127.0.0.1', HTTP_PORT: '0', WORKSPACE_DIR: 'workspace' };

describe('the command line', { concurrency: 2 }, () => {
  for (const flag of ['--help', '-h']) {
    test(`${flag} prints the usage`, async () => {
      const { code, stdout, stderr } = await runProgram([flag]);
      assert.equal(code, 0);
      assert.match(stdout, /^Usage: docker-http-passthrough/);
      for (const word of ['serve', '--version', '--help', 'HTTP_PORT', 'REGISTRY_URL']) {
        assert.ok(stdout.includes(word), word);
      }
      assert.equal(stderr, '');
    });
  }

  for (const flag of ['--version', '-v']) {
    test(`${flag} prints the version of the package`, async () => {
      const { version } = JSON.parse(await readFile(PACKAGE, 'utf8')) as { version: string };
      const { code, stdout } = await runProgram([flag]);
      assert.equal(code, 0);
      const facts = `Node.js ${process.version}, commit unknown`;
      assert.equal(stdout, `docker-http-passthrough ${version} (${facts})\n`);
    });
  }

  const misuses: readonly [args: readonly string[], says: RegExp][] = [
    [['frobnicate'], /"frobnicate"/],
    [['serv'], /Unknown command "serv"\nDid you mean serve\?/],
    [['ghcr.io/org/app:1', 'app.tar'], /An image is pulled by: docker-http-passthrough pull REF FILE/],
    [['serve', 'twice'], /"twice" is one operand too many\nUsage: docker-http-passthrough serve\n/],
    [['--frobnicate'], /Unknown option "--frobnicate"/],
    [['serve', '-z'], /Unknown option "-z"/],
    [['--prot=8080'], /Unknown option "--prot"\nDid you mean --port\?/],
    [
      ['--port', '1', 'pull', 'alpine', 'a.tar'],
      /the command comes first\nBegin with: docker-http-passthrough pull/,
    ],
    [['--help=yes'], /Cannot use --help: it takes no value/],
    [['serve', '--port', 'x'], /Cannot use --port="x": expected a whole number from 0 to 65535/],
    [['--port=65536'], /Cannot use --port="65536": expected a whole number from 0 to 65535/],
    [['serve', '--host=http://x'], /Cannot use --host="http:\/\/x": expected a host name or an IP address/],
    [['completion', 'tcsh'], /Cannot write completion for "tcsh": expected bash, zsh or fish/],
    [['help', 'pul'], /Unknown command "pul"\nDid you mean pull\?/],
    [['tags'], /Cannot run tags: REPOSITORY is missing\nUsage: docker-http-passthrough tags REPOSITORY/],
    [['tags', 'alpine:3'], /expected a repository without tag and digest/],
  ];
  for (const [args, says] of misuses) {
    test(`${args.join(' ')} is refused with exit code 2 and its name`, async () => {
      const { code, stdout, stderr } = await runProgram(args, LOCAL);
      assert.equal(code, 2);
      assert.equal(stdout, '');
      assert.match(stderr, /^docker-http-passthrough: /);
      assert.match(stderr, says);
      assert.doesNotMatch(stderr, /\n\s+at /, 'no stack');
    });
  }
});

describe('the configuration', { concurrency: 2 }, () => {
  const bad: readonly [name: string, value: string, allowed: RegExp][] = [
    ['HTTP_PORT', 'abc', /whole number from 0 to 65535/],
    ['HTTP_PORT', '65536', /whole number from 0 to 65535/],
    ['HTTP_HOST', 'http://0.0.0.0', /a host name or an IP address, without scheme and port/],
    ['LOG_LEVEL', 'loud', /trace, debug, info, warn, error/],
    ['REGISTRY_CLIENT_AUTH', 'maybe', /optional, required, off/],
    ['REGISTRY_URL', 'ftp://registry.example', /http or https/],
    ['DEFAULT_PLATFORM', 'linux', /os\/arch/],
    ['MAX_IMAGE_BYTES', 'lots', /number of bytes/],
    ['SEND_STALL_TIMEOUT', '-1', /seconds/],
  ];
  for (const [name, value, allowed] of bad) {
    test(`${name}=${value} is refused with exit code 2, its name and what is allowed`, async () => {
      const { code, stdout, stderr } = await runProgram([], { ...LOCAL, [name]: value });
      assert.equal(code, 2);
      assert.equal(stdout, '');
      assert.ok(stderr.startsWith(`docker-http-passthrough: Cannot use ${name}="${value}": `), stderr);
      assert.match(stderr, allowed);
      assert.equal(stderr.split('\n').length, 2, 'one line');
    });
  }

  test('a password in a URL is not shown', async () => {
    const { code, stderr } = await runProgram([], { ...LOCAL, REGISTRY_URL: 'https://user:hunter2@host' });
    assert.equal(code, 2);
    assert.match(stderr, /REGISTRY_URL/);
    assert.doesNotMatch(stderr, /hunter2/);
  });

  for (const name of ['WORKSPACE_DIR', 'CACHE_DIR']) {
    test(`a ${name} that cannot be used is refused with exit code 2`, async () => {
      const { code, stderr } = await runProgram([], { ...LOCAL, [name]: '/dev/null/folder' });
      assert.equal(code, 2);
      assert.match(stderr, new RegExp(`Cannot use ${name}="/dev/null/folder"`));
    });
  }

  test('a port that is in use is refused with exit code 2, in one line that names the variables', async () => {
    await using other = await listen(createServer(), 'http');
    const { code, stdout, stderr } = await runProgram([], { ...LOCAL, HTTP_PORT: String(other.port) });
    const address = `HTTP_HOST="127.0.0.1" HTTP_PORT=${other.port}`;
    assert.equal(
      stderr,
      `docker-http-passthrough: Cannot listen on ${address}: the port is in use (EADDRINUSE)\n`,
    );
    assert.deepEqual([code, stdout], [2, '']);
  });

  test('a host that is not an address of this machine is refused with exit code 2', async () => {
    // RFC 5737: an address for documentation, so no machine has it.
    const { code, stderr } = await runProgram([], { ...LOCAL, HTTP_HOST: '192.0.2.1' });
    const address = 'HTTP_HOST="192.0.2.1" HTTP_PORT=0';
    assert.equal(
      stderr,
      `docker-http-passthrough: Cannot listen on ${address}: the host is not an address of this machine (EADDRNOTAVAIL)\n`,
    );
    assert.equal(code, 2);
  });

  test('is read from .env in the working directory, but the environment wins', async () => {
    await using folder = await temporaryFolder();
    await writeFile(
      join(folder.path, '.env'),
      [
        '# the service',
        'HTTP_HOST=127.0.0.1',
        'HTTP_PORT=0',
        'WORKSPACE_DIR=from-file',
        'REGISTRY_URL=https://file.example',
        'REGISTRY_NAME="file.example:5000"',
      ].join('\n'),
    );
    await using program = startProgram([], { REGISTRY_NAME: 'environment.example' }, folder.path);
    const { host, registry, workspace } = await program.waitForEvent('listening');
    assert.deepEqual(
      { host, registry, workspace },
      { host: '127.0.0.1', registry: 'environment.example', workspace: 'from-file' },
    );
    program.child.kill('SIGTERM');
    assert.equal((await program.ended()).code, 0);
  });

  test('in .env is checked like the environment', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, '.env'), 'HTTP_PORT=abc\n');
    await using program = startProgram([], {}, folder.path);
    const { code, stderr } = await program.ended();
    assert.equal(code, 2);
    assert.match(stderr, /Cannot use HTTP_PORT="abc"/);
  });

  test('in an unreadable .env is an error', async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, '.env'));
    await using program = startProgram([], LOCAL, folder.path);
    const { code, stderr } = await program.ended();
    assert.equal(code, 2);
    assert.equal(
      stderr,
      'docker-http-passthrough: Cannot read .env in the working directory: it is a folder\n',
    );
  });

  test('in .env that is read otherwise than it is meant causes warnings with the line', async () => {
    await using folder = await temporaryFolder();
    await writeFile(
      join(folder.path, '.env'),
      '\ufeffHTTP_HOST=127.0.0.1\nHTTP_PORT=0\nREGISTRY_PASSWORD=pa#ss\nREGISTRY_USERNAME: me\nREGISTRY_USERNAME=me\n',
    );
    await using program = startProgram([], {}, folder.path);
    await program.waitForEvent('listening');
    program.child.kill('SIGTERM');
    const { code, stdout } = await program.ended();
    const warned = logOf(stdout).filter(
      ({ event, message }) => event === 'configuration' && /^\.env/.test(`${message}`),
    );
    assert.deepEqual(
      [code, warned.map(({ level, message }) => [level, String(message).slice(0, 12)])],
      [
        0,
        [
          ['warn', '.env line 3:'],
          ['warn', '.env line 4:'],
        ],
      ],
    );
    await using explaining = startProgram(['explain', 'alpine'], {}, folder.path);
    const { stderr, stdout: facts } = await explaining.ended();
    assert.match(
      stderr,
      /^docker-http-passthrough: \.env line 3: .*\ndocker-http-passthrough: \.env line 4: .*\n$/,
    );
    assert.match(facts, /^credentials .*REGISTRY_USERNAME/m);
    assert.doesNotMatch(stdout + stderr, /pa#?ss\b|#ss/);
  });

  test('with credentials that belong to no registry causes a warning that does not show them', async () => {
    await using folder = await temporaryFolder();
    const env = { ...LOCAL, REGISTRY_USERNAME: 'operator-name', REGISTRY_PASSWORD: 'operator-password' };
    await using program = startProgram([], env, folder.path);
    const { level, message } = await program.waitForEvent('configuration');
    assert.equal(level, 'warn');
    assert.match(String(message), /REGISTRY_CREDENTIALS_HOSTS/);
    await program.waitForEvent('listening');
    program.child.kill('SIGTERM');
    const { stdout, stderr } = await program.ended();
    assert.doesNotMatch(stdout + stderr, /operator-(?:name|password)/);
    assert.ok(logOf(stdout).length > 0);
  });
});
