/** The configurations for nginx and HAProxy: two replicas, and each image is fetched from its registry once. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { noise } from '../support/noise.ts';
import { curl, sha256Of, textOf } from './curl.ts';
import { freePort } from './free-port.ts';
import { cleanup, end, type Part, requireParts, start, temporaryDirectory, until } from './parts.ts';
import { type Service, startService } from './service.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url));

/** Images: enough that both replicas get some. */
const COUNT = 12;

interface Balancer {
  readonly command: Part;
  readonly file: string;
  /** What the configuration of the repository has, and the test has otherwise. */
  readonly changes: (port: number, directory: string) => readonly (readonly [from: string, to: string])[];
  readonly args: (config: string, directory: string) => readonly string[];
}

const BALANCERS: readonly Balancer[] = [
  {
    command: 'nginx',
    file: 'nginx/nginx.conf',
    changes: (port, directory) => [
      ['listen 8080;', `listen 127.0.0.1:${port};`],
      // Only one process, and nothing outside of the folder of the test.
      ['worker_processes auto;', `worker_processes 1; daemon off; pid ${directory}/pid; error_log stderr;`],
      [
        'http {\n',
        `http {\n  access_log off; ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/${name};`).join(' ')}\n`,
      ],
    ],
    args: (config, directory) => ['-c', config, '-p', directory],
  },
  {
    command: 'haproxy',
    file: 'haproxy/haproxy.cfg',
    changes: (port) => [['bind :8080', `bind 127.0.0.1:${port}`]],
    args: (config) => ['-db', '-f', config],
  },
];

/** Starts a balancer with its configuration of the repository, in front of replicas. */
async function startBalancer(
  t: TestContext,
  stack: AsyncDisposableStack,
  { command, file, changes, args }: Balancer,
  replicas: readonly Service[],
): Promise<string> {
  const directory = await temporaryDirectory(stack, command);
  const port = await freePort();
  let text = await readFile(join(DEPLOY, file), 'utf8');
  const servers = replicas.map(({ port }, at) => [`10.0.0.${at + 1}:8080`, `127.0.0.1:${port}`] as const);
  for (const [from, to] of [...changes(port, directory), ...servers]) {
    assert.equal(text.split(from).length, 2, `${from} once`);
    text = text.replace(from, to);
  }
  const config = join(directory, 'config');
  await writeFile(config, text);
  const running = start(command, args(config, directory));
  stack.defer(async () => {
    await end(running, 10_000);
  });
  const origin = `http://127.0.0.1:${port}`;
  await until(`answer of ${command}`, async () => {
    if (!running.isRunning()) throw new Error(`Cannot start ${command}: ${running.stderr()}`);
    const { status } = await curl(directory, `${origin}/health`);
    return status === 200 ? true : undefined;
  });
  t.diagnostic(running.stderr());
  return origin;
}

for (const balancer of BALANCERS) {
  test(`${balancer.command} sends equal paths to equal replicas`, { timeout: 120_000 }, async (t) => {
    if (!requireParts(t, balancer.command, 'curl')) return;
    const stack = cleanup(t);
    const registry = stack.use(await startFakeRegistry());
    const directory = await temporaryDirectory(stack, 'balanced');
    const layers = new Map<string, string>();
    for (let tag = 0; tag < COUNT; tag += 1) {
      const image = makeImage({
        layers: [{ tar: makeLayer({ file: noise(`${tag}`, 50_000) }), compression: 'gzip' }],
      });
      registry.push('team/app', `${tag}`, image);
      layers.set(`${tag}`, image.layers[0]?.digest ?? '');
    }
    const env = { REGISTRY_URL: registry.origin, CACHE_MAX_BYTES: '100MiB' };
    const replicas = await Promise.all([startService(stack, env), startService(stack, env)]);
    const origin = await startBalancer(t, stack, balancer, replicas);

    // Several devices want each image, and its checksum; some images are prepared before.
    for (let tag = 0; tag < COUNT; tag += 1) {
      const path = `/docker/team_app_${tag}.tar`;
      if (tag % 3 === 0) {
        const prepared = await curl(directory, `${origin}/prepare${path}`, '-X', 'POST');
        assert.equal(prepared.status, 202);
      }
      const answers = await Promise.all([1, 2, 3].map(() => curl(directory, origin + path)));
      const checksum = await curl(directory, `${origin}${path}.sha256`);
      const sums = await Promise.all(answers.map(({ file }) => sha256Of(file)));
      assert.deepEqual(
        answers.map(({ status }) => status),
        [200, 200, 200],
      );
      const expected = (await textOf(checksum)).split(' ')[0];
      assert.deepEqual(new Set(sums), new Set([expected]));
      assert.notEqual(expected, createHash('sha256').digest('hex'));
    }
    for (const [tag, digest] of layers) {
      assert.equal(registry.countRequests(new RegExp(`^GET .*/blobs/${digest}`)), 1, `layer of ${tag}`);
    }
    const served = replicas.map(
      (replica) => replica.logs().filter(({ event }) => event === 'request').length,
    );
    assert.ok(
      served.every((count) => count > 0),
      `both replicas work: ${served}`,
    );

    // A replica that stops: its images come from the other one, and no request fails for long.
    await replicas[0].stop();
    for (let tag = 0; tag < COUNT; tag += 1) {
      await until(`answer for ${tag}`, async () => {
        const { status } = await curl(directory, `${origin}/docker/team_app_${tag}.tar`);
        return status === 200 ? true : undefined;
      });
    }
  });
}

for (const balancer of BALANCERS) {
  test(`${balancer.command} tells who the client is, and the client cannot`, {
    timeout: 180_000,
  }, async (t) => {
    if (!requireParts(t, balancer.command, 'curl')) return;
    const stack = cleanup(t);
    const directory = await temporaryDirectory(stack, 'balanced');
    const env = { TRUSTED_PROXIES: '127.0.0.1', CLIENT_ALLOWED_NETWORKS: '127.0.0.2' };
    const replicas = await Promise.all([startService(stack, env), startService(stack, env)]);
    const origin = await startBalancer(t, stack, balancer, replicas);
    const lies = [
      ...['-H', 'Forwarded: for=127.0.0.2;proto=https', '-H', 'X-Forwarded-For: 127.0.0.2'],
      ...['-H', 'X-Forwarded-For: 127.0.0.2', '-H', 'X-Forwarded-Proto: https'],
    ];
    for (const headers of [[], lies]) {
      const statusFrom = async (address: string) =>
        (await curl(directory, `${origin}/`, '--interface', address, ...headers)).status;
      assert.equal(await statusFrom('127.0.0.2'), 200);
      assert.equal(await statusFrom('127.0.0.3'), 403);
    }
    const clients = replicas.flatMap((replica) =>
      replica
        .logs()
        .flatMap(({ event, client, proxy }) => (event === 'request' ? [`${client} by ${proxy}`] : [])),
    );
    assert.deepEqual(clients.toSorted(), [
      '127.0.0.2 by 127.0.0.1',
      '127.0.0.2 by 127.0.0.1',
      '127.0.0.3 by 127.0.0.1',
      '127.0.0.3 by 127.0.0.1',
    ]);
  });
}
