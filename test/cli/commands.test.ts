/** The commands beside pull and serve, through the built program. */

import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { COMMANDS } from '../../src/cli/commands.ts';
import { machinePlatform } from '../../src/cli/options/platform.ts';
import { builtMain, startBuiltService } from '../support/built-service.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { applicationImage } from '../support/iox.ts';
import { makeSigningKey, signatureTags, signedByTag } from '../support/signing.ts';
import { makeCertificates } from '../support/tls.ts';
import { temporaryFolder } from './binary.ts';
import { run, startOf } from './command.ts';

const HERE = machinePlatform();
const ONE = makeImage({ platform: HERE, layers: [{ tar: makeLayer({ one: 'one' }) }] });
const ARM = makeImage({
  platform: { os: 'linux', architecture: 'arm64' },
  layers: [{ tar: makeLayer({ arm: 'arm' }) }],
});
const KEY = makeSigningKey();
const INDEX = makeIndex(HERE.architecture === 'arm64' ? [{ image: ONE }] : [{ image: ONE }, { image: ARM }]);

describe('the commands', { concurrency: 2 }, () => {
  let registry: FakeRegistry;
  /** So that references without a host are at the registry. */
  let env: Record<string, string> = {};
  before(async () => {
    registry = await startFakeRegistry();
    registry.push('library/alpine', '3.19', INDEX);
    registry.push('library/alpine', '3.20', INDEX);
    registry.push('team/app', '1', ONE);
    const { digest } = ONE.manifest;
    registry.push('team/app', signatureTags(digest).tag, signedByTag(digest, KEY));
    const labels = { 'cisco.resources.privileged': 'true' };
    registry.push('team/sensor', '1', applicationImage({ Labels: labels }));
    env = {
      REGISTRY_URL: registry.origin,
      REGISTRY_NAME: 'docker.io',
      REGISTRY_DEFAULT_NAMESPACE: 'library',
      DOCKER_CONFIG: '/nonexistent',
      HOME: '/nonexistent',
    };
  });
  after(() => registry.close());

  describe('have a help', () => {
    for (const { name, options, examples } of COMMANDS) {
      test(`${name} --help tells its options and has examples`, async () => {
        const { code, stdout, stderr } = await run([name, '--help']);
        assert.deepEqual([code, stderr], [0, '']);
        const text = String(stdout);
        assert.match(text, new RegExp(`^Usage: docker-http-passthrough ${name}`));
        for (const option of options) assert.ok(text.includes(`--${option.name}`), option.name);
        assert.ok(examples.length > 0);
        for (const line of text.split('\n')) assert.ok(line.length <= 120, line);
        assert.equal(String((await run(['help', name])).stdout), text);
        assert.equal(String((await run(['--help', name])).stdout), text);
      });
    }

    test('and no two options of a command share a name', () => {
      for (const { name, options } of COMMANDS) {
        const names = options.flatMap((one) => [one.name, one.short, ...(one.aliases ?? [])].filter(Boolean));
        assert.equal(new Set([...names, 'h', 'v']).size, names.length + 2, name);
      }
    });
  });

  describe('have examples that run:', () => {
    for (const { name, examples } of COMMANDS) {
      // They serve or need a service; test/cli/proxy runs the examples of proxy.
      if (['serve', 'health', 'proxy'].includes(name)) continue;
      for (const [line] of examples) {
        test(line, async () => {
          await using folder = await temporaryFolder();
          const program = `'${process.execPath}' '${await builtMain()}'`;
          if (name === 'inspect') {
            await startOf('bash', ['--norc', '-c', `${program} pull -q alpine:3.20 alpine.tar`], {
              env,
              cwd: folder.path,
            }).ended;
          }
          if (line.includes('cosign.pub')) await writeFile(join(folder.path, 'cosign.pub'), KEY.pem);
          // bash, as the words of an example are quoted for it.
          const script = `set -o pipefail; ${program} ${line}`;
          const { code, stdout, stderr } = await startOf('bash', ['--norc', '-c', script], {
            env,
            cwd: folder.path,
          }).ended;
          assert.equal(code, 0, stderr);
          if (name !== 'pull') assert.ok(stdout.length > 0);
        });
      }
    }
  });

  test('manifest prints the bytes of the registry to a pipe', async () => {
    const { code, stdout, stderr } = await run(['manifest', 'alpine:3.20'], { env });
    assert.deepEqual([code, stderr], [0, '']);
    assert.ok(stdout.equals(INDEX.manifest.bytes));
    const image = await run(['manifest', '-m', 'image', 'alpine:3.20'], { env });
    assert.ok(image.stdout.equals(ONE.manifest.bytes));
    const { stdout: digest } = await run(['manifest', '--digest', 'alpine:3.20'], { env });
    const { mediaType, bytes } = INDEX.manifest;
    assert.equal(String(digest), `${INDEX.manifest.digest} ${mediaType} ${bytes.length}\n`);
  });

  test('manifest --layout iox prints the descriptor of a package, and what it leaves out', async () => {
    const named = ['manifest', '--layout', 'iox', '--platform', 'linux/amd64', 'team/sensor:1'];
    const { code, stdout, stderr } = await run([...named, '--profile', 'c1.large'], { env });
    assert.deepEqual([code, stderr], [0, 'Labels that were left out: cisco.resources.privileged\n']);
    const descriptor = parse(String(stdout));
    assert.equal(descriptor.app.resources.profile, 'c1.large');
    for (const [option, why] of [
      [['--digest'], /--digest/],
      [['-m', 'image'], /--manifest/],
      [['--platform', 'all'], /platform/],
      [['--profile', 'c9'], /c9/],
    ] as const) {
      const { code, stderr } = await run(['manifest', '--layout', 'iox', 'team/sensor:1', ...option], {
        env,
      });
      assert.equal(code, 2, stderr);
      assert.match(stderr, why);
    }
    const unsized = await run(['manifest', 'team/sensor:1', '--profile', 'c1.small'], { env });
    assert.equal(unsized.code, 2);
    assert.match(unsized.stderr, /--layout iox/);
  });

  test('tags prints one tag a line', async () => {
    registry.push('team/many', '1', ONE);
    registry.push('team/many', '2', ONE);
    const { code, stdout } = await run(['tags', `docker://${registry.host}/team/many`]);
    assert.deepEqual([code, String(stdout)], [0, '1\n2\n']);
    const none = await run(['tags', 'team/none'], { env });
    assert.equal(none.code, 3, none.stderr);
  });

  test('explain tells registry, platform and source of credentials, and no secret', async () => {
    const { code, stdout } = await run(['explain', 'alpine'], {
      env: { ...env, REGISTRY_USERNAME: 'bob', REGISTRY_PASSWORD: 'hunter2' },
    });
    assert.equal(code, 0);
    const facts = Object.fromEntries(
      String(stdout)
        .trimEnd()
        .split('\n')
        .map((line) => [line.slice(0, 13).trim(), line.slice(13)]),
    );
    assert.deepEqual(facts, {
      reference: 'docker.io/library/alpine:latest',
      registry: `docker.io: ${registry.origin}, as REGISTRY_URL says`,
      allowed: 'yes: REGISTRY_ALLOWED_HOSTS is not set, so every registry is',
      platform: `${HERE.os}/${HERE.architecture} (this machine)`,
      namespace: 'library: added to this name',
      credentials: 'REGISTRY_USERNAME and REGISTRY_PASSWORD',
      token: 'where the registry says',
      mirrors: 'none',
      tls: 'none: it is asked over http',
      signature: 'none is asked for: SIGNATURE_KEYS is not set',
    });
    const asked = await run(['explain', '-ubob', '-phunter2', '--platform=ir1101', 'ghcr.io/x/y:1'], { env });
    assert.match(String(asked.stdout), /^platform {5}linux\/arm64\n(?:.*\n)?credentials {2}--user$/m);
    assert.doesNotMatch(String(stdout) + String(asked.stdout), /hunter2/);
  });

  test('explain runs no helper program, and says which would be asked', async () => {
    await using folder = await temporaryFolder();
    const program = join(folder.path, 'docker-credential-mark');
    await writeFile(program, `#!/bin/sh\n: > '${folder.path}/ran'\n`, { mode: 0o755 });
    await writeFile(join(folder.path, 'config.json'), JSON.stringify({ credsStore: 'mark' }));
    const path = `${folder.path}:${process.env['PATH']}`;
    const { stdout, code } = await run(['explain', 'ghcr.io/a/b'], {
      env: { PATH: path, HOME: folder.path, DOCKER_CONFIG: folder.path },
    });
    assert.equal(code, 0);
    const line = `program docker-credential-mark, which ${folder.path}/config.json names, else none: anonymous`;
    assert.ok(String(stdout).includes(`credentials  ${line}\n`), String(stdout));
    assert.deepEqual(await readdir(folder.path), ['config.json', 'docker-credential-mark']);
  });

  test('explain names the certificates of options and of a folder', async () => {
    const { ca, clientCert, clientKey } = await makeCertificates();
    await using folder = await temporaryFolder();
    for (const [name, text] of [
      ['ca.crt', ca],
      ['client.cert', clientCert],
      ['client.key', clientKey],
    ] as const)
      await writeFile(join(folder.path, name), text);
    const options = [`--cacert=${join(folder.path, 'ca.crt')}`, `--cert-dir=${folder.path}`, '--insecure'];
    const { stdout } = await run(['explain', 'ghcr.io/a/b', ...options], { env });
    assert.match(
      String(stdout).replaceAll(folder.path, '…'),
      /^tls +the certificate is not verified: .*--insecure; --cacert …\/ca\.crt; files of …; authorities ca\.crt \(valid until [^)]+\); client certificate client\.cert \(valid until [^)]+\)$/m,
    );
  });

  test('explain says that a registry is not allowed, with exit code 4', async () => {
    const { code, stdout } = await run(['explain', 'evil.example/x'], {
      env: { ...env, REGISTRY_ALLOWED_HOSTS: 'ghcr.io' },
    });
    assert.equal(code, 4);
    assert.match(String(stdout), /^allowed {6}no: /m);
  });

  test('explain and pull use the files of docker login', async () => {
    await using closed = await startFakeRegistry({
      auth: { mode: 'basic', users: new Map([['bob', 'hunter2']]) },
    });
    closed.push('team/app', '1', ONE);
    await using folder = await temporaryFolder();
    const auth = Buffer.from('bob:hunter2').toString('base64');
    await writeFile(join(folder.path, 'config.json'), JSON.stringify({ auths: { [closed.host]: { auth } } }));
    await mkdir(join(folder.path, 'empty'));
    const ref = `${closed.host}/team/app:1`;
    const byVariable = { HOME: join(folder.path, 'empty'), DOCKER_CONFIG: folder.path };
    const explained = await run(['explain', ref], { env: byVariable });
    assert.match(
      String(explained.stdout),
      new RegExp(
        `^credentials {2}entry "${RegExp.escape(closed.host)}" of ${RegExp.escape(folder.path)}/config\\.json$`,
        'm',
      ),
    );
    const pulled = await run(['pull', '-q', ref, '-'], { env: byVariable });
    assert.deepEqual([pulled.code, pulled.stderr], [0, '']);
    const home = { HOME: join(folder.path, 'empty') };
    const byFlag = await run(
      ['tags', `--authfile=${join(folder.path, 'config.json')}`, `${closed.host}/team/app`],
      { env: home },
    );
    assert.deepEqual([byFlag.code, String(byFlag.stdout)], [0, '1\n']);
    assert.equal((await run(['tags', `${closed.host}/team/app`], { env: home })).code, 4);
  });

  test('REGISTRY_MIRRORS holds, with the accounts of docker login, and explain shows them', async () => {
    await using mirror = await startFakeRegistry({
      auth: { mode: 'basic', users: new Map([['robot', 'hunter3']]) },
    });
    mirror.push('hub/team/app', '1', ONE);
    await using down = await startFakeRegistry();
    await down.close();
    await using folder = await temporaryFolder();
    const auth = Buffer.from('robot:hunter3').toString('base64');
    const auths = { [`${mirror.host}/hub`]: { auth } };
    await writeFile(join(folder.path, 'config.json'), JSON.stringify({ auths }));
    const ref = `${down.host}/team/app:1`;
    const env = {
      HOME: folder.path,
      DOCKER_CONFIG: folder.path,
      REGISTRY_MIRRORS: `${down.host}=http://localhost:1|${mirror.origin}/hub`,
    };
    const explained = await run(['explain', ref], { env });
    const mirrors = Array.from(String(explained.stdout).matchAll(/^mirror \d +(.*)$/gm), ([, text]) => text);
    assert.deepEqual(mirrors, [
      'http://localhost:1; none: anonymous; its answers count',
      `${mirror.origin}/hub; entry "${mirror.host}/hub" of ${folder.path}/config.json; its answers count`,
    ]);
    assert.match(String(explained.stdout), /^credentials {2}none: anonymous$/m);
    const pulled = await run(['pull', '-q', ref, '-'], { env });
    assert.deepEqual([pulled.code, pulled.stderr], [0, '']);
    assert.match(
      String((await run(['explain', '-n', 'ghcr.io', ref], { env })).stdout),
      /^mirrors +none: --ns$/m,
    );
  });

  test('--ns goes with each request to the registry', async () => {
    const { code, stderr } = await run(['pull', '-q', '-n', 'docker.io', `${registry.host}/team/app:1`, '-']);
    assert.deepEqual([code, stderr], [0, '']);
    const asked = registry.requests.filter(({ path }) => path.includes('ns=docker.io'));
    assert.deepEqual(
      asked.map(({ path }) => path.replace(/sha256:\w+/, '…')),
      [
        '/v2/team/app/manifests/1?ns=docker.io',
        '/v2/team/app/blobs/…?ns=docker.io',
        '/v2/team/app/blobs/…?ns=docker.io',
      ],
    );
  });

  describe('inspect', () => {
    test('tells what an archive holds', async () => {
      await using folder = await temporaryFolder();
      await run(['pull', '-q', 'team/app:1', 'a.tgz'], { env, cwd: folder.path });
      const { code, stdout, stderr } = await run(['inspect', '--json', 'a.tgz'], { cwd: folder.path });
      assert.deepEqual([code, stderr], [0, '']);
      const [image, ...more] = JSON.parse(String(stdout)).images;
      assert.deepEqual(more, []);
      assert.deepEqual(image.tags, ['team/app:1']);
      assert.deepEqual(
        [image.config, image.platform],
        [ONE.config.digest, `${HERE.os}/${HERE.architecture}`],
      );
      assert.deepEqual(
        image.layers.map(({ diffId }: { diffId: string }) => diffId),
        ONE.diffIds,
      );
      const text = await run(['inspect', 'a.tgz'], { cwd: folder.path });
      assert.ok(String(text.stdout).includes(`image     team/app:1\nconfig    ${ONE.config.digest}\n`));
      // Through a pipe.
      const piped = await startOf(
        'bash',
        ['--norc', '-c', `cat a.tgz | '${process.execPath}' '${await builtMain()}' inspect --json -`],
        { cwd: folder.path },
      ).ended;
      assert.equal(String(piped.stdout), String(stdout));
    });

    test('names file and fault of a bad one, with exit code 1', async () => {
      await using folder = await temporaryFolder();
      await run(['pull', '-q', 'team/app:1', 'a.tar'], { env, cwd: folder.path });
      const archive = await readFile(join(folder.path, 'a.tar'));
      await writeFile(join(folder.path, 'cut.tar'), archive.subarray(0, archive.length / 2));
      await writeFile(join(folder.path, 'text.tar'), 'no archive');
      for (const [file, says] of [
        ['cut.tar', /cut\.tar: Cannot /],
        ['text.tar', /text\.tar: Cannot /],
        ['none.tar', /none\.tar: Cannot .*no such file/],
      ] as const) {
        const { code, stdout, stderr } = await run(['inspect', file], { cwd: folder.path });
        assert.deepEqual([code, stdout.length], [1, 0], file);
        assert.match(stderr, says);
        assert.equal(stderr.split('\n').length, 2, stderr);
      }
    });
  });

  test('health asks the service', async () => {
    await using service = await startBuiltService({});
    const port = String(service.port);
    const env = { HTTP_PORT: port };
    assert.equal((await run(['health'], { env })).code, 0);
    assert.equal((await run(['health', '--port', port])).code, 0);
    const other = await run(['health', '--port', port, '--host', '127.0.0.2']);
    assert.equal(other.code, 1);
    assert.match(other.stderr, /^docker-http-passthrough: Cannot ask http:\/\/127\.0\.0\.2:\d+\/health: /);
    await service.stop();
    assert.equal((await run(['health'], { env })).code, 1);
  });
});

describe('completion', { concurrency: 2 }, () => {
  const table: readonly [words: string, expected: readonly string[]][] = [
    ['pu', ['pull']],
    ['pull --pla', ['--platform']],
    ['pull --layout ', ['docker', 'docker-gzip', 'iox', 'oci']],
    ['pull --layout = o', ['oci']],
    ['pull -s h', ['http', 'https']],
    ['pull --user ', []],
    ['pull alpine al', ['alpine.tar']],
    ['inspect ', ['alpine.tar', 'folder']],
    ['pull --cache ', ['folder']],
    ['completion ', ['bash', 'zsh', 'fish']],
    ['help exp', ['explain']],
    ['tags --pass', ['--password', '--password-stdin']],
    ['proxy --so', ['--sockfd']],
    ['serve --', ['--port', '--host', '--help', '--version']],
  ];
  for (const [words, expected] of table) {
    test(`of bash for "${words}"`, async () => {
      await using folder = await temporaryFolder();
      await writeFile(join(folder.path, 'alpine.tar'), '');
      await mkdir(join(folder.path, 'folder'));
      const list = ['docker-http-passthrough', ...words.split(' ')];
      const script = `source <('${process.execPath}' '${await builtMain()}' completion bash)
        COMP_WORDS=(${list.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${list.length - 1}
        _docker_http_passthrough; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { stdout, stderr } = await startOf('bash', ['--norc', '-c', script], { cwd: folder.path }).ended;
      const lines = String(stdout)
        .split('\n')
        .filter((line) => line !== '');
      // Files come in the order of the folder.
      assert.deepEqual([lines.toSorted(), stderr], [expected.toSorted(), '']);
    });
  }

  for (const shell of ['bash', 'zsh', 'fish']) {
    test(`of ${shell} names every command and option`, async () => {
      const { code, stdout } = await run(['completion', shell]);
      assert.equal(code, 0);
      for (const { name, options } of COMMANDS) {
        assert.ok(String(stdout).includes(name), name);
        for (const option of options) assert.ok(String(stdout).includes(option.name), option.name);
      }
    });
  }
});
