/** `--verify-key`, and the variables of signatures on the command line. */

import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { machinePlatform } from '../../src/cli/options/platform.ts';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { makeSigningKey, signatureTags, signedByTag } from '../support/signing.ts';
import { temporaryFolder } from './binary.ts';
import { run } from './command.ts';

const IMAGE = makeImage({ platform: machinePlatform(), layers: [{ tar: makeLayer({ a: 'a' }) }] });
const KEY = makeSigningKey();
const OTHER = makeSigningKey();

describe('--verify-key', { concurrency: 2 }, () => {
  let registry: FakeRegistry;
  before(async () => {
    registry = await startFakeRegistry();
    registry.push('team/app', '1', IMAGE);
    const { digest } = IMAGE.manifest;
    registry.push('team/app', signatureTags(digest).tag, signedByTag(digest, KEY));
  });
  after(() => registry.close());

  const reference = () => `${registry.host}/team/app:1`;

  async function keys() {
    const folder = await temporaryFolder();
    await writeFile(join(folder.path, 'right.pub'), KEY.pem);
    await writeFile(join(folder.path, 'wrong.pub'), OTHER.pem);
    await writeFile(join(folder.path, 'bad.pub'), 'nothing');
    return folder;
  }

  test('pull writes a signed image, and names the key on standard error', async () => {
    await using folder = await keys();
    const args = ['pull', '--verify-key', 'wrong.pub,right.pub', reference(), 'app.tar'];
    const { code, stdout, stderr } = await run(args, { cwd: folder.path });
    assert.deepEqual([code, String(stdout)], [0, '']);
    assert.match(stderr, /^Signed: .*\/team\/app:1 \(sha256:[a-f0-9]{64}\) with key "right\.pub"$/m);
  });

  test('with --quiet, standard error is empty', async () => {
    await using folder = await keys();
    const args = ['pull', '-q', '--verify-key', 'right.pub', reference(), 'app.tar'];
    assert.deepEqual(await run(args, { cwd: folder.path }).then(({ code, stderr }) => [code, stderr]), [
      0,
      '',
    ]);
  });

  test('pull writes nothing else: exit code 4, what is missing, and what was looked at', async () => {
    await using folder = await keys();
    const args = ['pull', '--verify-key=wrong.pub', reference(), 'app.tar'];
    const { code, stderr } = await run(args, { cwd: folder.path });
    assert.equal(code, 4);
    assert.match(stderr, /^docker-http-passthrough: Cannot serve ".*": sha256:.* has no valid signature$/m);
    assert.match(stderr, /^Looked at signature 1 of tag .*: it is not signed by a key that counts; /m);
    assert.match(stderr, /^Keys that count: "wrong\.pub" \(SHA-256 [a-f0-9]{64}\)$/m);
    assert.match(stderr, /^Sign this digest with cosign sign --key, or name the public key/m);
    assert.ok(!(await readdir(folder.path)).includes('app.tar'));
  });

  for (const args of [['manifest'], ['pull', '--manifest', 'image']]) {
    test(`${args.join(' ')} prints the manifest of a signed image alone`, async () => {
      await using folder = await keys();
      const at = { cwd: folder.path };
      const good = await run([...args, '--verify-key', 'right.pub', reference()], at);
      assert.deepEqual([good.code, String(good.stdout)], [0, IMAGE.manifest.bytes.toString()]);
      const bad = await run([...args, '--verify-key', 'wrong.pub', reference()], at);
      assert.deepEqual([bad.code, String(bad.stdout)], [4, '']);
    });
  }

  const misused: readonly [value: string, why: RegExp][] = [
    [
      'missing.pub',
      /Cannot use key "missing\.pub": it does not exist\nIt is one of --verify-key or SIGNATURE_KEYS/,
    ],
    ['bad.pub', /Cannot use key "bad\.pub": it has no public key in PEM form/],
    [',', /Cannot use --verify-key: it names no file/],
  ];
  for (const [value, why] of misused) {
    test(`${value} is refused`, async () => {
      await using folder = await keys();
      const { code, stderr } = await run(['pull', '--verify-key', value, reference(), 'app.tar'], {
        cwd: folder.path,
      });
      assert.equal(code, 2);
      assert.match(stderr, why);
    });
  }

  test('SIGNATURE_KEYS holds for commands, and --verify-key stands in its place', async () => {
    await using folder = await keys();
    const env = { SIGNATURE_KEYS: 'wrong.pub', SIGNATURE_POLICY: 'warn' };
    const warned = await run(['pull', reference(), 'app.tar'], { cwd: folder.path, env });
    assert.equal(warned.code, 0);
    assert.match(warned.stderr, /the signature of .* is not valid, or there is none: /);
    const enforced = await run(['pull', '--verify-key=wrong.pub', reference(), 'app.tar'], {
      cwd: folder.path,
      env,
    });
    assert.equal(enforced.code, 4);
  });

  test('the other variables hold with --verify-key alone', async () => {
    await using folder = await keys();
    const args = ['manifest', '--verify-key', 'right.pub', reference()];
    const at = (env: Record<string, string>) => run(args, { cwd: folder.path, env });
    const { code, stderr } = await at({ SIGNATURE_MATCH_REPOSITORY: 'yes' });
    assert.equal(code, 4, stderr);
    assert.match(stderr, /it is for repository "registry\.example\/team\/app"/);
    assert.equal((await at({ SIGNATURE_POLICY: 'warn', SIGNATURE_REQUIRED_FOR: 'ghcr.io/*' })).code, 0);
  });

  const explained: readonly [env: Readonly<Record<string, string>>, line: RegExp][] = [
    [{}, /^signature {4}none is asked for: SIGNATURE_KEYS is not set$/m],
    [{ SIGNATURE_KEYS: 'a.pub' }, /^signature {4}required: by a\.pub; SIGNATURE_REQUIRED_FOR has \*$/m],
    [
      { SIGNATURE_KEYS: 'a.pub,b.pub', SIGNATURE_MATCH_REPOSITORY: 'yes' },
      /required: by a\.pub or b\.pub, for this repository; /,
    ],
    [{ SIGNATURE_KEYS: 'a.pub', SIGNATURE_POLICY: 'warn' }, /its lack is only logged: by a\.pub; /],
    [
      { SIGNATURE_KEYS: 'a.pub', SIGNATURE_REQUIRED_FOR: 'ghcr.io/*' },
      /SIGNATURE_REQUIRED_FOR does not list it$/m,
    ],
  ];
  for (const [env, line] of explained) {
    test(`explain tells the rule: ${JSON.stringify(env)}`, async () => {
      const { stdout } = await run(['explain', 'alpine'], { env });
      assert.match(String(stdout), line);
    });
  }
});
