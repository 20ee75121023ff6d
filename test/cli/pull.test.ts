import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { machinePlatform } from '../../src/cli/options/platform.ts';
import { listTar } from '../support/collect.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { type BuiltImage, makeImage, makeIndex, makeLayer } from '../support/image.ts';
import { applicationImage, readPackage } from '../support/iox.ts';
import { imagesOf, filesOf as unpacked } from '../support/reading.ts';
import { makeCertificates } from '../support/tls.ts';
import { temporaryFolder } from './binary.ts';
import { type Result, run, start } from './command.ts';

const HERE = machinePlatform();
const OTHER = { os: 'linux', architecture: HERE.architecture === 's390x' ? 'amd64' : 's390x' };

function imageFor(platform: { os: string; architecture: string }, text: string): BuiltImage {
  return makeImage({ platform, layers: [{ tar: makeLayer({ [text]: text }) }] });
}

const ONE = imageFor(HERE, 'one');
const TWO = imageFor(HERE, 'two');
const SINGLE_OTHER = imageFor(OTHER, 'other');

/** The files of an archive. */
function filesOf(archive: Buffer): ReadonlyMap<string, Buffer> {
  return new Map(listTar(archive).map(({ name, content }) => [name, content]));
}

function tagsOf(archive: Buffer): readonly string[] {
  const manifest: { RepoTags: string[] }[] = JSON.parse(String(filesOf(archive).get('manifest.json')));
  return manifest.flatMap(({ RepoTags }) => RepoTags);
}

describe('pull', { concurrency: 2 }, () => {
  let registry: FakeRegistry;
  before(async () => {
    registry = await startFakeRegistry();
    registry.push('team/app', '1', ONE);
    registry.push('team/app', 'same', ONE);
    registry.push('team/app', 'other', SINGLE_OTHER);
    registry.push('team/two', '1', TWO);
    registry.push(
      'team/index',
      '1',
      makeIndex([
        { platform: HERE, image: ONE },
        { platform: OTHER, image: SINGLE_OTHER },
      ]),
    );
  });
  after(() => registry.close());

  const ref = (name: string) => `${registry.host}/${name}`;

  test('writes the archive, and says image, platform, digest, file, size and time', async () => {
    await using folder = await temporaryFolder();
    const { code, stdout, stderr } = await run(['pull', ref('team/app:1'), 'app.tar'], { cwd: folder.path });
    assert.equal(code, 0, stderr);
    assert.equal(stdout.length, 0);
    const archive = await readFile(join(folder.path, 'app.tar'));
    assert.deepEqual(tagsOf(archive), [ref('team/app:1')]);
    assert.deepEqual(await readdir(folder.path), ['app.tar']);
    const platform = `${HERE.os}/${HERE.architecture}`;
    const [first, last, ...more] = stderr.split('\n');
    assert.equal(first, `Pulling ${ref('team/app:1')}`);
    assert.match(last ?? '', /: \d+(?:\.\d+)? kB in \d+\.\d s$/);
    assert.ok(
      last?.startsWith(`Pulled ${ref('team/app:1')} (${platform}, ${ONE.manifest.digest}) to app.tar: `),
    );
    assert.deepEqual(more, ['']);
  });

  test('names the labels that the descriptor of a package does not have', async () => {
    const Labels = { 'cisco.resources.privileged': 'true' };
    registry.push('team/labels', '1', applicationImage({ Labels }));
    await using folder = await temporaryFolder();
    const args = ['--layout', 'iox', '--platform', 'linux/amd64', '--profile', 'c1.large'];
    const { code, stderr } = await run(['pull', ...args, ref('team/labels:1'), 'app.tar'], {
      cwd: folder.path,
    });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^Labels that were left out: cisco\.resources\.privileged$/m);
    const { descriptor } = readPackage(await readFile(join(folder.path, 'app.tar')));
    assert.match(descriptor, /profile: "c1\.large"/);
  });

  const forms: readonly [args: readonly string[], entry: string, options?: object][] = [
    [['pull', '-q', 'docker://{}team/app:1', 'a.tar'], 'repositories'],
    [['pull', '-q', '--layout', 'oci', '{}team/app:1', 'a.tar'], 'oci-layout'],
    [['pull', '-q', '--layout=docker-gzip', '{}team/app:1', 'a.tar'], 'manifest.json'],
    [['pull', '-q', '{}team/app:1', '-f', 'a.tar'], 'manifest.json'],
    [['pull', '-q', '-fa.tar', '{}team/app:1'], 'manifest.json'],
    [['pull', '-q', '--layout', 'oci', '--platform', 'all', '{}team/index:1', 'a.tar'], 'index.json'],
  ];
  for (const [args, entry] of forms) {
    test(args.join(' '), async () => {
      await using folder = await temporaryFolder();
      const words = args.map((arg) => arg.replace('{}', `${registry.host}/`));
      const { code, stderr } = await run(words, { cwd: folder.path });
      assert.deepEqual([code, stderr], [0, '']);
      assert.ok(filesOf(await readFile(join(folder.path, 'a.tar'))).has(entry));
    });
  }

  for (const layout of ['docker', 'docker-gzip', 'oci']) {
    for (const ending of ['tar', 'tgz']) {
      test(`--since in layout ${layout} as .${ending}: an update without the layers of the base`, async () => {
        await using folder = await temporaryFolder();
        const args = ['pull', '--layout', layout, '--since', 'same', ref('team/app:1'), `a.${ending}`];
        const { code, stderr } = await run(args, { cwd: folder.path });
        assert.equal(code, 0, stderr);
        assert.ok(
          stderr.includes(`, since ${ref('team/app:same')}, ${ONE.manifest.digest}) to a.${ending}: `),
          stderr,
        );
        const archive = { body: await readFile(join(folder.path, `a.${ending}`)) };
        const [image] = imagesOf(archive);
        assert.deepEqual(
          image?.Layers.map((name) => unpacked(archive).has(name)),
          [false],
        );
      });
    }
  }

  test('--since with a base that is not there is the error of a missing image, and says so', async () => {
    await using folder = await temporaryFolder();
    const { code, stderr } = await run(['pull', '-q', '--since', 'none', ref('team/app:1'), 'a.tar'], {
      cwd: folder.path,
    });
    assert.equal(code, 3, stderr);
    assert.ok(
      stderr.includes(
        `${ref('team/app:none')} is the base of the update: without --since, the archive is whole\n`,
      ),
      stderr,
    );
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('--since is for one image', async () => {
    const { code, stderr } = await run(['pull', '--since', '1', 'a', 'b', '-f', 'c.tar']);
    assert.deepEqual([code, /Cannot use --since: it is for one image/.test(stderr)], [2, true]);
  });

  const platforms: readonly (readonly string[])[] = [
    ['--platform', `${OTHER.os}/${OTHER.architecture}`],
    ['--platform', `${OTHER.os}/${OTHER.architecture}`, '-a', OTHER.architecture],
    ['--os', OTHER.os, '--arch', OTHER.architecture],
    [`-o${OTHER.os}`, `-a=${OTHER.architecture}`],
    ['-a', OTHER.architecture],
  ];
  for (const options of platforms) {
    test(`takes the platform of ${options.join(' ')}`, async () => {
      await using folder = await temporaryFolder();
      const { code, stderr } = await run(['pull', ...options, ref('team/index:1'), 'a.tar'], {
        cwd: folder.path,
      });
      assert.equal(code, 0, stderr);
      assert.ok(
        stderr.includes(`(${OTHER.os}/${OTHER.architecture}, ${SINGLE_OTHER.manifest.digest})`),
        stderr,
      );
    });
  }

  test('takes the only platform of an image, and names it, unless another one is asked for', async () => {
    await using folder = await temporaryFolder();
    const other = `${OTHER.os}/${OTHER.architecture}`;
    const free = await run(['pull', ref('team/app:other'), 'a.tar'], { cwd: folder.path });
    assert.equal(free.code, 0, free.stderr);
    assert.ok(free.stderr.includes(`(${other}, `), free.stderr);
    const asked = await run(['pull', '-a', HERE.architecture, ref('team/app:other'), 'b.tar'], {
      cwd: folder.path,
    });
    assert.equal(asked.code, 3);
    assert.ok(
      asked.stderr.includes(`the image offers ${other}\nChoose one of these with --platform\n`),
      asked.stderr,
    );
    assert.deepEqual(await readdir(folder.path), ['a.tar']);
  });

  test('gzips where the ending or --format says so', async () => {
    await using folder = await temporaryFolder();
    const table: readonly [args: readonly string[], isGzip: boolean][] = [
      [['a.tgz'], true],
      [['b.tar.gz'], true],
      [['c.tar'], false],
      [['d'], false],
      [['--format', 'tgz', 'e.tar'], true],
      [['--format=tar', 'f.tgz'], false],
    ];
    for (const [args, isGzip] of table) {
      const { code, stderr } = await run(['pull', '-q', ref('team/app:1'), ...args], { cwd: folder.path });
      assert.equal(code, 0, stderr);
      const archive = await readFile(join(folder.path, args.at(-1) ?? ''));
      assert.equal(archive.readUInt16BE() === 0x1f8b, isGzip, args.join(' '));
    }
  });

  test('puts several images into one archive', async () => {
    await using folder = await temporaryFolder();
    const images = ['team/app:1', 'team/two:1'].map(ref);
    const { code, stderr } = await run(['pull', ...images, '-f', 'lab.tar'], { cwd: folder.path });
    assert.equal(code, 0, stderr);
    assert.deepEqual(tagsOf(await readFile(join(folder.path, 'lab.tar'))), images);
  });

  test('gives the image the name of --name', async () => {
    await using folder = await temporaryFolder();
    const { code, stderr } = await run(['pull', '-q', '--name', 'lab/x:7', ref('team/app:1'), 'a.tar'], {
      cwd: folder.path,
    });
    assert.equal(code, 0, stderr);
    assert.deepEqual(tagsOf(await readFile(join(folder.path, 'a.tar'))), ['lab/x:7']);
  });

  test('writes to standard output, and everything else to standard error', async () => {
    const { code, stdout, stderr } = await run(['pull', ref('team/app:1'), '-']);
    assert.equal(code, 0, stderr);
    assert.deepEqual(tagsOf(stdout), [ref('team/app:1')]);
    assert.match(stderr, /^Pulling .*\nPulled .* to standard output: .*\n$/);
  });

  test('gives the same bytes each time, and those of the service', async () => {
    const hash = (result: Result) => createHash('sha256').update(result.stdout).digest('hex');
    const [one, two] = [
      await run(['pull', '-q', ref('team/app:1'), '-']),
      await run(['pull', '-q', ref('team/app:1'), '-']),
    ];
    assert.equal(hash(one), hash(two));
  });

  test('takes layers from --cache, and goes on from those that are there', async () => {
    await using folder = await temporaryFolder();
    const args = ['pull', '-q', '--cache', 'cache', ref('team/two:1')];
    assert.equal((await run([...args, 'a.tar'], { cwd: folder.path })).code, 0);
    const blobs = () => registry.requests.filter(({ path }) => path.includes('/team/two/blobs/')).length;
    const before = blobs();
    assert.equal((await run([...args, 'b.tar'], { cwd: folder.path })).code, 0);
    // The config is asked for again, the layer is not.
    assert.ok(blobs() - before <= 1, `${blobs() - before} requests`);
    const files = await Promise.all(['a.tar', 'b.tar'].map((name) => readFile(join(folder.path, name))));
    assert.ok(files[0]?.equals(files[1] ?? Buffer.alloc(0)));
  });

  test('replaces a file, and keeps the link to it', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'real.tar'), 'old');
    await symlink('real.tar', join(folder.path, 'link.tar'));
    const { code, stderr } = await run(['pull', '-q', ref('team/app:1'), 'link.tar'], { cwd: folder.path });
    assert.equal(code, 0, stderr);
    assert.deepEqual((await readdir(folder.path)).sort(), ['link.tar', 'real.tar']);
    assert.deepEqual(tagsOf(await readFile(join(folder.path, 'real.tar'))), [ref('team/app:1')]);
  });

  test('writes to a device as it is', async () => {
    const { code, stderr } = await run(['pull', '-q', ref('team/app:1'), '/dev/null']);
    assert.deepEqual([code, stderr], [0, '']);
    assert.ok((await stat('/dev/null')).isCharacterDevice());
  });

  test('--manifest prints the manifest or the index, and writes no file', async () => {
    await using folder = await temporaryFolder();
    const image = await run(['pull', '-m', 'image', ref('team/index:1'), 'a.tar'], { cwd: folder.path });
    assert.deepEqual([image.code, image.stderr], [0, '']);
    assert.ok(image.stdout.equals(ONE.manifest.bytes));
    const list = await run(['pull', '--manifest=list', ref('team/index:1')], { cwd: folder.path });
    assert.equal(JSON.parse(String(list.stdout)).manifests.length, 2);
    const none = await run(['pull', '-mlist', ref('team/app:1')], { cwd: folder.path });
    assert.deepEqual([none.code, none.stdout.length], [3, 0]);
    assert.match(none.stderr, /it is for a single platform and has none/);
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('--parsed prints the options without the password, and stops', async () => {
    const args = [
      'pull',
      '--parsed',
      '-ubob',
      '-phunter2',
      '-olinux',
      '-a',
      'arm64',
      '-i',
      'alpine',
      'a.tar',
    ];
    const { code, stdout } = await run(args);
    assert.equal(code, 0);
    assert.doesNotMatch(String(stdout), /hunter2/);
    assert.deepEqual(JSON.parse(String(stdout)), {
      references: ['alpine'],
      file: 'a.tar',
      user: 'bob',
      os: 'linux',
      arch: 'arm64',
      insecure: true,
    });
  });

  const misuses: readonly [args: readonly string[], says: RegExp][] = [
    [['pull'], /the image is missing\nWrite: pull REF FILE/],
    [['pull', 'alpine'], /the file is missing\nWrite: pull REF FILE/],
    [['pull', 'alpine', 'nginx', 'a.tar'], /--file is missing/],
    [['pull', 'alpine', 'a.tar', '-p', 'hunter2'], /its user name is missing\nGive --user/],
    [['pull', 'alpine', 'a.tar', '-u', 'bob'], /the password is missing/],
    [['pull', 'alpine', 'a.tar', '-u', 'a:b', '-p', 'hunter2'], /it has a colon/],
    [
      ['pull', 'alpine', 'a.tar', '-u', 'b', '-p', 'hunter2', '--password-stdin'],
      /--password-stdin is given, too/,
    ],
    [['pull', 'alpine', 'a.tar', '-c', 'x.pem'], /Cannot use --cert: --key is missing/],
    [['pull', 'alpine', 'a.tar', '-k', 'x.pem'], /Cannot use --key: --cert is missing/],
    [
      ['pull', 'alpine', 'a.tar', '--platform', 'all'],
      /only layout oci holds more than one\nAdd --layout oci/,
    ],
    [
      ['pull', 'alpine', 'a.tar', '--platform', 'linux/arm64', '-a', 'amd64'],
      /--os or --arch names another one/,
    ],
    [
      ['pull', 'alpine', 'a.tar', '--platform', 'ir1102'],
      /Cannot parse platform "ir1102": .*\nDid you mean ir1101\?/,
    ],
    [['pull', 'alpine', 'a.tar', '--arch', 'amd46'], /unknown architecture "amd46"/],
    [['pull', 'alpine', 'a.tar', '--layout', 'docker-zip'], /Did you mean --layout docker-gzip\?/],
    [['pull', 'al pine', 'a.tar'], /Cannot parse reference "al pine"/],
    [['pull', 'alpine', '.'], /Cannot write "\.": it is a folder/],
    [['pull', '--insecrue', 'alpine', 'a.tar'], /Unknown option "--insecrue"\nDid you mean --insecure\?/],
    [
      ['pull', 'a.example/x', 'b.example/y', '-f', 'a.tar', '-u', 'b', '-p', 'hunter2'],
      /the images lie at 2 registries/,
    ],
  ];
  for (const [args, says] of misuses) {
    test(`${args.join(' ')} is refused with exit code 2`, async () => {
      await using folder = await temporaryFolder();
      const { code, stdout, stderr } = await run(args, { cwd: folder.path });
      assert.equal(code, 2, stderr);
      assert.equal(stdout.length, 0);
      assert.match(stderr, /^docker-http-passthrough: /);
      assert.match(stderr, says);
      assert.doesNotMatch(stderr, /hunter2|\n\s+at /);
      assert.ok(stderr.split('\n').length <= 3, stderr);
      assert.deepEqual(await readdir(folder.path), []);
    });
  }

  test('what is not there is exit code 3, and says what to try', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'a.tar'), 'old');
    const { code, stderr } = await run(['pull', '-q', ref('team/app:none'), 'a.tar'], { cwd: folder.path });
    assert.equal(code, 3);
    assert.match(
      stderr,
      /not found.*\nCheck name and tag: the command tags lists the tags of a repository\n$/,
    );
    assert.equal(await readFile(join(folder.path, 'a.tar'), 'utf8'), 'old');
    assert.deepEqual(await readdir(folder.path), ['a.tar']);
  });

  test('a registry that nothing listens at is exit code 1, and says what to try', async () => {
    await using folder = await temporaryFolder();
    const { code, stderr } = await run(['pull', '-q', '127.0.0.1:9/x:1', 'a.tar'], { cwd: folder.path });
    assert.equal(code, 1);
    assert.match(stderr, /Cannot reach "http:\/\/127\.0\.0\.1:9": connection refused\nCheck host and port; /);
  });

  test('a registry with plain http that is asked over https says so', async () => {
    await using folder = await temporaryFolder();
    const { code, stderr } = await run(['pull', '-q', '-s', 'https', ref('team/app:1'), 'a.tar'], {
      cwd: folder.path,
    });
    assert.equal(code, 1);
    assert.match(stderr, /: it does not speak TLS: use http\nAdd --scheme http\n$/);
  });

  test('an unreadable environment of the listener does not matter', async () => {
    const env = { HTTP_PORT: 'tcp://10.0.0.1:80', LOG_LEVEL: 'loud', OTEL_TRACES_EXPORTER: 'x' };
    const { code, stderr } = await run(['pull', '-q', ref('team/app:1'), '-'], { env });
    assert.deepEqual([code, stderr], [0, '']);
  });

  test('variables of the registry hold, and those that are wrong are named', async () => {
    const env = { REGISTRY_URL: registry.origin, REGISTRY_NAME: 'lab.example' };
    const good = await run(['pull', '-q', 'team/app:1', '-'], { env });
    assert.deepEqual(tagsOf(good.stdout), ['lab.example/team/app:1']);
    const bad = await run(['pull', '-q', 'team/app:1', '-'], { env: { REGISTRY_URL: 'ftp://x' } });
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /Cannot use REGISTRY_URL="ftp:\/\/x"/);
  });
});

describe('pull with credentials', { concurrency: 2 }, () => {
  let registry: FakeRegistry;
  before(async () => {
    registry = await startFakeRegistry({ auth: { mode: 'basic', users: new Map([['bob', 'p:äss']]) } });
    registry.push('team/app', '1', ONE);
  });
  after(() => registry.close());

  test('uses --user with --password or --password-stdin', async () => {
    const ref = `${registry.host}/team/app:1`;
    for (const [args, input] of [
      [['-u', 'bob', '-p', 'p:äss'], ''],
      [['--user=bob', '--password-stdin'], 'p:äss\n'],
    ] as const) {
      const { code, stdout, stderr } = await run(['pull', '-q', ...args, ref, '-'], { input });
      assert.equal(code, 0, stderr);
      assert.deepEqual(tagsOf(stdout), [ref]);
    }
  });

  test('prefers --user to the environment', async () => {
    const env = { REGISTRY_TOKEN: 'wrong', REGISTRY_USERNAME: 'wrong', REGISTRY_PASSWORD: 'wrong' };
    const { code, stderr } = await run(
      ['pull', '-q', '-ubob', '-pp:äss', `${registry.host}/team/app:1`, '-'],
      { env },
    );
    assert.deepEqual([code, stderr], [0, '']);
  });

  test('is refused without them with exit code 4, and never shows them', async () => {
    for (const args of [[], ['-u', 'bob', '-p', 'hunter2']]) {
      const { code, stderr } = await run(['pull', ...args, `${registry.host}/team/app:1`, '-']);
      assert.equal(code, 4);
      assert.match(stderr, /\nSign in with docker login, or give --user and --password-stdin/);
      assert.doesNotMatch(stderr, /hunter2/);
    }
  });
});

describe('pull from a registry that asks for a certificate', { concurrency: 2 }, () => {
  test('shows that of --cert and --key, and trusts --cacert', async () => {
    const { ca, cert, key, clientCert, clientKey } = await makeCertificates();
    await using registry = await startFakeRegistry({ tls: { cert, key, clientCa: ca } });
    registry.push('team/app', '1', ONE);
    await using folder = await temporaryFolder();
    const files = { 'ca.pem': ca, 'c.pem': clientCert, 'k.pem': clientKey, 'text.pem': 'text' };
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text);
    const pull = (...options: readonly string[]) =>
      run(['pull', '-q', '-s', 'https', ...options, `${registry.host}/team/app:1`, '-'], {
        cwd: folder.path,
      });
    const shown = await pull('-x', 'ca.pem', '-c', 'c.pem', '-k', 'k.pem');
    assert.equal(shown.code, 0, shown.stderr);
    assert.deepEqual(tagsOf(shown.stdout), [`${registry.host}/team/app:1`]);
    const refusals: readonly [options: readonly string[], code: number, says: RegExp][] = [
      [
        ['-x', 'ca.pem'],
        1,
        /it wants a client certificate .*\nName the certificate and its key with --cert and --key\n/,
      ],
      [
        ['-c', 'c.pem', '-k', 'k.pem'],
        1,
        /its certificate is not trusted: its authority "CN=test-authority" is unknown here\nName the PEM file/,
      ],
      [
        ['-x', 'ca.pem', '-c', 'text.pem', '-k', 'k.pem'],
        2,
        /Cannot use the client certificate: .*\nIt is the file of --cert\n/,
      ],
      [['-x', 'ca.pem', '-c', 'c.pem', '-k', 'none.pem'], 2, /Cannot use --key="none\.pem": /],
    ];
    for (const [options, code, says] of refusals) {
      const refused = await pull(...options);
      assert.equal(refused.code, code, `${options.join(' ')}: ${refused.stderr}`);
      assert.match(refused.stderr, says);
    }
  });
});

describe('a pull that is stopped', { concurrency: 2 }, () => {
  const signals: readonly [signal: NodeJS.Signals, code: number][] = [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ];
  for (const [signal, code] of signals) {
    test(`by ${signal} ends with ${code}, and leaves the old file and nothing else`, async () => {
      await using registry = await startFakeRegistry({
        defects: { stallRequests: { pattern: /\/blobs\// } },
      });
      registry.push('team/app', '1', ONE);
      await using folder = await temporaryFolder();
      await mkdir(join(folder.path, 'tmp'));
      await writeFile(join(folder.path, 'a.tar'), 'old');
      const workspace = join(folder.path, 'tmp');
      const running = await start(['pull', '-q', `${registry.host}/team/app:1`, 'a.tar'], {
        cwd: folder.path,
        env: { WORKSPACE_DIR: workspace },
      });
      await registry.waitForStalled();
      running.child.kill(signal);
      const result = await running.ended;
      assert.deepEqual([result.code, result.signal], [code, null], result.stderr);
      assert.equal(result.stderr, `docker-http-passthrough: Stopped by ${signal}\n`);
      assert.equal(await readFile(join(folder.path, 'a.tar'), 'utf8'), 'old');
      assert.deepEqual((await readdir(folder.path, { recursive: true })).sort(), ['a.tar', 'tmp']);
    });
  }

  test('by a blob that is not what its digest says leaves nothing, and exit code 1', async () => {
    await using registry = await startFakeRegistry({ defects: { wrongBlobDigest: true } });
    registry.push('team/app', '1', ONE);
    await using folder = await temporaryFolder();
    const { code, stderr } = await run(['pull', '-q', `${registry.host}/team/app:1`, 'a.tar'], {
      cwd: folder.path,
    });
    assert.equal(code, 1);
    assert.match(stderr, /Cannot verify .*\nNothing was written: /);
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('shows and trusts what lies in folders of certificates', async () => {
    const { ca, cert, key, clientCert, clientKey } = await makeCertificates();
    await using registry = await startFakeRegistry({ tls: { cert, key, clientCa: ca } });
    registry.push('team/app', '1', ONE);
    await using folder = await temporaryFolder();
    const byHost = `certs.d/${registry.host}`;
    const write = async (below: string, names: readonly (readonly [name: string, text: string])[]) => {
      await mkdir(join(folder.path, below), { recursive: true });
      for (const [name, text] of names) await writeFile(join(folder.path, below, name), text);
    };
    const files = [
      ['ca.crt', ca],
      ['me.cert', clientCert],
      ['me.key', clientKey],
    ] as const;
    await write(`.config/containers/${byHost}`, files);
    await write(`other/${byHost}`, files);
    await write('flat', files);
    await write('broken', files.slice(0, 2));
    const home = { HOME: folder.path };
    const noHome = { HOME: join(folder.path, 'none') };
    const certs = { ...noHome, REGISTRY_CERTS_DIR: join(folder.path, 'other/certs.d') };
    const rows: readonly [
      env: Record<string, string>,
      options: readonly string[],
      code: number,
      says: RegExp,
    ][] = [
      [home, [], 0, /^$/],
      [certs, [], 0, /^$/],
      [noHome, ['--cert-dir', 'flat'], 0, /^$/],
      [noHome, [], 1, /its authority "CN=test-authority" is unknown here/],
      [
        home,
        ['--cert-dir', 'broken'],
        2,
        /Cannot use --cert-dir, "broken\/me\.cert": its key "me\.key" is missing/,
      ],
      [home, ['--cert-dir', 'missing'], 2, /Cannot use --cert-dir, "missing": it does not exist/],
      [{ ...noHome, REGISTRY_INSECURE_HOSTS: registry.host }, [], 1, /it wants a client certificate/],
    ];
    for (const [env, options, code, says] of rows) {
      const pulled = await run(
        ['pull', '-q', '-s', 'https', ...options, `${registry.host}/team/app:1`, '-'],
        {
          cwd: folder.path,
          env,
        },
      );
      assert.equal(pulled.code, code, `${options.join(' ')}: ${pulled.stderr}`);
      assert.match(pulled.stderr, says);
    }
  });
});
