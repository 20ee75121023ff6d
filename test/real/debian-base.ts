/**
 * A base image for the Dockerfile where no public registry is reachable: the files of Debian's packages on this machine, the
 * project's Node.js, and npm.
 */
import {
  access,
  copyFile,
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { DockerEngine } from './docker-engine.ts';
import { run, temporaryDirectory } from './parts.ts';

/** What the build stage runs and what Node.js is linked with. Their dependencies come with them. */
const PACKAGES = [
  'bash',
  'coreutils',
  'dash',
  'findutils',
  'grep',
  'libatomic1',
  'libc-bin',
  'libstdc++6',
  'sed',
];

/** Dependencies that only a package manager needs. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  'debconf',
  'debconf-2.0',
  'dpkg',
  'install-info',
  'debianutils',
]);

/** Documents and translations of packages. */
const DOCUMENTS = /^\/usr\/share\/(?:bug|doc|info|lintian|locale|man)\//;

/** Folders that are links on Debian 12. */
const LINKS = ['bin', 'lib', 'lib64', 'sbin'];

/** Certificate authorities of Debian's package. The system's own bundle may have local ones. */
const AUTHORITIES = '/usr/share/ca-certificates/mozilla';

/** What programs on this machine trust: npm may reach its registry through a proxy with a local authority. */
const SYSTEM_AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';

/** Where the base has them, for npm only. */
const BUILD_AUTHORITIES = '/usr/local/share/build-authorities.pem';

/** The packages with all that they depend on. */
async function withDependencies(names: readonly string[]): Promise<ReadonlySet<string>> {
  const all = new Set(names);
  // The iteration of a set includes elements that are added meanwhile.
  for (const name of all) {
    const fields = ['db:Status-Status', 'Pre-Depends', 'Depends'];
    const format = fields.map((field) => `$\{${field}}`).join(',');
    const text = await run('dpkg-query', ['-W', '-f', format, name]).catch(() => '');
    // A virtual package, or an alternative to one that is there.
    if (!text.startsWith('installed,')) all.delete(name);
    for (const dependency of text.split(',').slice(1)) {
      const first = /^\s*([a-z0-9][a-z0-9.+-]*)/.exec(dependency)?.[1];
      if (first !== undefined && !LEFT_OUT.has(first)) all.add(first);
    }
  }
  return all;
}

/** Copies the files of packages into a folder, as they are on this machine. */
async function copyPackages(names: readonly string[], tree: string): Promise<void> {
  const listed = await run('dpkg-query', ['-L', ...(await withDependencies(names))]);
  const paths = new Set(listed.split('\n').filter((path) => path.startsWith('/') && !DOCUMENTS.test(path)));
  for (const path of paths) {
    const state = await lstat(path).catch(() => undefined);
    if (state === undefined || state.isDirectory()) continue;
    const target = join(tree, await realpath(dirname(path)), basename(path));
    await mkdir(dirname(target), { recursive: true });
    await cp(path, target, { verbatimSymlinks: true, force: true });
  }
}

/**
 * Makes the base and imports it into an engine.
 *
 * @returns its name
 */
export async function importDebianBase(stack: AsyncDisposableStack, engine: DockerEngine): Promise<string> {
  const directory = await temporaryDirectory(stack, 'base');
  const tree = join(directory, 'tree');
  for (const name of LINKS) {
    await mkdir(join(tree, 'usr', name), { recursive: true });
    await symlink(join('usr', name), join(tree, name));
  }
  await copyPackages(PACKAGES, tree);

  await mkdir(join(tree, 'usr/local/bin'), { recursive: true });
  await copyFile(process.execPath, join(tree, 'usr/local/bin/node'));
  // {npm}/bin/npm-cli.js
  const npm = await realpath((await run('sh', ['-c', 'command -v npm'])).trim());
  await cp(dirname(dirname(npm)), join(tree, 'usr/local/lib/node_modules/npm'), { recursive: true });
  for (const name of ['npm', 'npx']) {
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(tree, 'usr/local/bin', name));
  }

  await mkdir(join(tree, 'etc/ssl/certs'), { recursive: true });
  await mkdir(join(tree, 'root'));
  await mkdir(join(tree, 'tmp'));
  const names = (await readdir(AUTHORITIES)).toSorted();
  const authorities = await Promise.all(names.map((name) => readFile(join(AUTHORITIES, name), 'utf8')));
  await writeFile(join(tree, SYSTEM_AUTHORITIES), authorities.join(''));
  await mkdir(join(tree, dirname(BUILD_AUTHORITIES)), { recursive: true });
  const trusted = await access(SYSTEM_AUTHORITIES).then(
    () => SYSTEM_AUTHORITIES,
    () => join(tree, SYSTEM_AUTHORITIES),
  );
  await copyFile(trusted, join(tree, BUILD_AUTHORITIES));

  const archive = join(directory, 'base.tar');
  await run('tar', ['--owner=0', '--group=0', '-cf', archive, '-C', tree, '.']);
  const changes = [
    'ENV PATH=/usr/local/bin:/usr/bin:/bin',
    `ENV NODE_EXTRA_CA_CERTS=${BUILD_AUTHORITIES}`,
    'ENV HOME=/root',
  ];
  await engine.docker(
    'import',
    ...changes.flatMap((change) => ['--change', change]),
    archive,
    'node-base:test',
  );
  return 'node-base:test';
}
