/** docker-bake.hcl and compose.yaml, as buildx and compose understand them. No engine is needed. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { codeBlocks, readPage } from '../docs/markdown.ts';
import { cleanup, run, temporaryDirectory } from './parts.ts';
import { pathOfSidProgram, requireSidPrograms } from './sid-programs.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const IMAGE = 'ghcr.io/cisco-open/docker-http-passthrough';
const PLATFORMS = ['linux/amd64', 'linux/arm64'];
const NAMES = [`${IMAGE}:1.2.3`, `${IMAGE}:1.2`];

/** Target, and what it is apart from its arguments. */
const TARGETS: readonly [target: string, expected: Readonly<Record<string, unknown>>][] = [
  ['image-local', { tags: NAMES, output: [{ type: 'docker' }] }],
  ['image-all', { tags: NAMES, platforms: PLATFORMS, output: [{ type: 'cacheonly' }] }],
  [
    'image-push',
    {
      ...{ tags: NAMES, platforms: PLATFORMS, output: [{ type: 'registry' }] },
      attest: [{ type: 'sbom' }, { type: 'provenance', mode: 'max' }],
    },
  ],
];

test('bake has a target for each kind of build', async (t) => {
  if (!requireSidPrograms(t, 'buildx')) return;
  const directory = await temporaryDirectory(cleanup(t), 'bake');
  const print = async (env: Readonly<Record<string, string>>, ...targets: readonly string[]) => {
    const args = ['bake', '--print', '--progress', 'quiet', ...targets];
    const options = { cwd: ROOT, env: { DOCKER_CONFIG: directory, ...env } };
    return JSON.parse(await run(pathOfSidProgram('buildx'), args, options)).target;
  };
  const env = { IMAGE, TAGS: '1.2.3,1.2', SOURCE_COMMIT: 'abc', NODE_IMAGE: 'node:test' };
  for (const [target, expected] of TARGETS) {
    const { [target]: printed } = await print(env, target);
    const { args, context, dockerfile, network, ...rest } = printed;
    assert.deepEqual(rest, expected, target);
    assert.equal(network ?? 'default', 'default');
    assert.deepEqual(
      [context, dockerfile, args.NODE_IMAGE, args.SOURCE_COMMIT],
      ['.', 'Dockerfile', 'node:test', 'abc'],
    );
  }
  assert.deepEqual((await print({ IMAGE: 'mine', TAG: '7' }))['image-local'].tags, ['mine:7']);

  const { test: tests, build } = await print(env, 'test');
  assert.deepEqual(
    [build.target, tests.contexts, tests.output],
    ['build', { build: 'target:build' }, [{ type: 'cacheonly' }]],
  );
  assert.match(tests['dockerfile-inline'], /^FROM build\n(?:.*\n)*RUN npm test\n$/);
});

test('compose passes on what is set, and has a profile for each addition', async (t) => {
  if (!requireSidPrograms(t, 'compose')) return;
  const directory = await temporaryDirectory(cleanup(t), 'compose');
  await writeFile(join(directory, '.env'), 'REGISTRY_NAME=from-file\n');
  const config = async (env: Readonly<Record<string, string>>, ...args: readonly string[]) => {
    const files = ['--project-directory', directory, '-f', join(ROOT, 'compose.yaml')];
    const options = { cwd: directory, env: { DOCKER_CONFIG: directory, ...env } };
    return JSON.parse(
      await run(pathOfSidProgram('compose'), [...files, ...args, 'config', '--format', 'json'], options),
    ).services;
  };

  const { passthrough } = await config({
    REGISTRY_AUTH_URL: '',
    REGISTRY_URL: 'http://registry:5000',
    HTTP_PORT: '9000',
  });
  const set = Object.entries(passthrough.environment).filter(([, value]) => value !== null);
  assert.deepEqual(
    new Map(set as [string, string][]),
    new Map([
      ['CACHE_DIR', '/cache'],
      ['HTTP_HOST', '0.0.0.0'],
      ['HTTP_PORT', '8080'],
      ['REGISTRY_AUTH_URL', ''],
      ['REGISTRY_NAME', 'from-file'],
      ['REGISTRY_URL', 'http://registry:5000'],
    ]),
  );
  assert.deepEqual(passthrough.ports, [
    { mode: 'ingress', target: 8080, published: '9000', protocol: 'tcp' },
  ]);
  assert.deepEqual(
    [passthrough.image, passthrough.read_only, passthrough.cap_drop],
    [`${IMAGE}:latest`, true, ['ALL']],
  );

  const profiles: readonly [name: string, services: readonly string[]][] = [
    ['', []],
    ['traces', ['collector', 'jaeger']],
    ['metrics', ['grafana', 'prometheus']],
    ['mirror', ['mirror']],
  ];
  for (const [name, services] of profiles) {
    const found = await config({}, ...(name === '' ? [] : ['--profile', name]));
    assert.deepEqual(Object.keys(found).sort(), ['passthrough', ...services].sort(), name);
  }
});

test('the override file of docs/containers.md mounts what its variables name', async (t) => {
  if (!requireSidPrograms(t, 'compose')) return;
  const directory = await temporaryDirectory(cleanup(t), 'override');
  const [override] = codeBlocks(await readPage('docs/containers.md')).filter(
    ({ language }) => language === 'yaml',
  );
  await writeFile(join(directory, 'compose.override.yaml'), override?.text ?? '');
  const files = [join(ROOT, 'compose.yaml'), join(directory, 'compose.override.yaml')];
  const said = await run(
    pathOfSidProgram('compose'),
    [
      ...['--project-directory', directory, ...files.flatMap((file) => ['-f', file])],
      ...['config', '--format', 'json'],
    ],
    { cwd: directory, env: { DOCKER_CONFIG: directory } },
  );
  const { environment, volumes, ports } = JSON.parse(said).services.passthrough;
  const named = Object.values<string | null>(environment).filter((value) => value?.startsWith('/run/'));
  const mounted: string[] = volumes.map(({ target }: { readonly target: string }) => target);
  assert.equal(named.length, 4);
  assert.deepEqual(
    named.filter((path) => !mounted.some((folder) => path?.startsWith(`${folder}/`))),
    [],
  );
  // The mounts and ports of compose.yaml stay.
  assert.ok(mounted.includes('/cache'));
  assert.deepEqual(
    ports.map(({ target }: { readonly target: number }) => target),
    [8080, 8443],
  );
});
