/** Gzipped archives, which consist of several gzip members, and the programs that people unpack them with. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { curl, sha256Of } from './curl.ts';
import { largeImage, openBench, push } from './images.ts';
import { attempt, cleanup, requireParts, run, temporaryDirectory } from './parts.ts';
import { startRegistry } from './registry.ts';
import { startService } from './service.ts';

const MIB = 1024 * 1024;

/** Programs that write the unpacked file to standard output. */
const UNPACKERS: Readonly<Record<string, readonly string[]>> = {
  gzip: ['gzip', '-dc'],
  zcat: ['zcat'],
  pigz: ['pigz', '-dc'],
  busybox: ['busybox', 'gunzip', '-c'],
  '7z': ['7z', 'x', '-so'],
  python: [
    'python3',
    '-c',
    'import gzip,sys,shutil; shutil.copyfileobj(gzip.open(sys.argv[1]), sys.stdout.buffer)',
  ],
};

/** Programs that list the entries of a gzipped tar file, one a line. */
const LISTERS: Readonly<Record<string, readonly string[]>> = {
  'GNU tar': ['tar', '-tzf'],
  bsdtar: ['bsdtar', '-tf'],
  'busybox tar': ['busybox', 'tar', '-tzf'],
  'python tarfile': [
    'python3',
    '-c',
    'import tarfile,sys; [print(m.name) for m in tarfile.open(sys.argv[1], "r:gz")]',
  ],
};

/** Entries without the slash that some programs print behind a folder. */
function entriesIn(listing: string): readonly string[] {
  return listing
    .trim()
    .split('\n')
    .map((name) => name.replace(/\/$/, ''));
}

test('gzipped archives are unpacked by', { timeout: 180_000 }, async (t) => {
  if (
    !requireParts(t, '7z', 'bsdtar', 'busybox', 'curl', 'docker-registry', 'pigz', 'python3', 'skopeo', 'tar')
  )
    return;
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'gzip-readers');
  const [registry, bench] = await Promise.all([startRegistry(stack, 'none'), openBench(stack)]);
  await push(registry, bench, await largeImage(bench, 4 * MIB), 'team/app:1');
  const service = await startService(stack, { REGISTRY_URL: registry.origin });
  for (const layout of ['docker', 'docker-gzip', 'oci']) {
    const get = async (ending: string) => {
      const { file, status, stderr } = await curl(
        directory,
        `${service.origin}/${layout}/team_app_1.${ending}`,
      );
      assert.equal(status, 200, stderr);
      return file;
    };
    const [plain, gzipped] = [await get('tar'), await get('tgz')];
    const expected = await sha256Of(plain);
    for (const [name, [command = '', ...args]] of Object.entries(UNPACKERS)) {
      await t.test(`${name}: layout ${layout}`, async () => {
        const file = join(directory, 'unpacked');
        const { code, stderr } = await attempt('sh', [
          '-c',
          'out=$1; shift; exec "$@" >"$out"',
          'sh',
          file,
          command,
          ...args,
          gzipped,
        ]);
        assert.equal(code, 0, stderr);
        assert.equal(await sha256Of(file), expected);
      });
    }
    const entries = entriesIn(await run('tar', ['-tf', plain]));
    for (const [name, [command = '', ...args]] of Object.entries(LISTERS)) {
      await t.test(`${name}: layout ${layout}`, async () => {
        const { code, stdout, stderr } = await attempt(command, [...args, gzipped]);
        assert.equal(code, 0, stderr);
        assert.deepEqual(entriesIn(stdout), entries);
      });
    }
    await t.test(`gzip -t: layout ${layout}`, async () => {
      await run('gzip', ['-t', gzipped]);
    });
  }
});
