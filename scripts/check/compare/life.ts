/** Scenarios: places that are taken, work that is shared, clients that leave, the end of the service, and the command line. */

import { join } from 'node:path';
import { IMAGES } from './images.ts';
import { APP, JSON_PLEASE, ONE, type Scenario, words } from './scenario.ts';
import type { Visit } from './visit.ts';

const LAYER = IMAGES.ONE.layers[0]?.digest ?? '';

/** Lets the download of the one layer come to a halt. */
function stall(visit: Visit): void {
  visit.world.registry.defects.stallBlob = { digest: LAYER, afterBytes: 1_000 };
  visit.isStalling = true;
}

/** Lets go on what has come to a halt, and everything that comes. */
function goOn(visit: Visit): void {
  visit.isStalling = false;
  delete visit.world.registry.defects.stallBlob;
  visit.world.registry.releaseStalled();
}

/** A list that is longer than any may be, on a connection that would go on. */
const LONG_LIST = `POST /bundle.tar HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n${'team/app:1\n'.repeat(4_000)}`;

/** Requests for an image that is not stored, an archive or not. */
const PULLS = [APP, '/team/app:1', '/bundle.tar?image=team/app:1', '/manifest/team/app:1'];

const ONE_PLACE = { MAX_CONCURRENT_PREPARATIONS: '1', MAX_QUEUED_PREPARATIONS: '0' };

/** Configurations that are refused, and some that are not. */
const CONFIGURATIONS: readonly Readonly<Record<string, string>>[] = [
  { HTTP_PORT: 'abc' },
  { HTTP_PORT: '70000' },
  { HTTP_HOST: '192.0.2.1', HTTP_PORT: '8080' },
  { HTTP_HOST: 'http://127.0.0.1' },
  { WORKSPACE_DIR: '/dev/null/workspace' },
  { CACHE_DIR: '/dev/null/cache' },
  { LOG_LEVEL: 'loud' },
  { REGISTRY_URL: 'ftp://registry.example' },
  { REGISTRY_URL: 'https://user:hunter2@registry.example' },
  { REGISTRY_URL: 'https://registry.example/path' },
  { REGISTRY_PASSWORD: 'hunter2' },
  { REGISTRY_USERNAME: 'a:b', REGISTRY_PASSWORD: 'hunter2' },
  { REGISTRY_BEARER_TOKEN: 'hunter2 hunter2' },
  { REGISTRY_CLIENT_AUTH: 'maybe' },
  { REGISTRY_DEFAULT_NAMESPACE: 'A' },
  { REGISTRY_ALLOWED_HOSTS: 'user:hunter2@host' },
  { REGISTRY_PLAIN_HTTP_HOSTS: 'https://host' },
  { REGISTRY_AUTH_URL: 'nonsense' },
  { REGISTRY_NAME: 'a b' },
  { REGISTRY_CONNECT_TIMEOUT: '0' },
  { DEFAULT_PLATFORM: 'plan10/amd64' },
  { CACHE_MAX_BYTES: '1 apple' },
  { MAX_IMAGE_BYTES: '0' },
  { MAX_CONCURRENT_LAYERS: '0' },
  { HTTPS_PROXY: 'ftp://proxy' },
  { OTEL_EXPORTER_OTLP_ENDPOINT: 'nonsense', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
  { OTEL_EXPORTER_OTLP_PROTOCOL: 'smoke' },
  { OTEL_EXPORTER_OTLP_HEADERS: 'hunter2' },
  { OTEL_TRACES_EXPORTER: 'pigeon' },
];

/** Arguments of the program. */
const COMMANDS = ['--help', '-h', '--version', '-v', '--nonsense', 'sing', 'serve more', 'serve --help'].map(
  words,
);

/** Scenarios of this file. */
export const LIFE_SCENARIOS: readonly Scenario[] = [
  {
    name: 'one place for preparations, and no queue',
    env: () => ONE_PLACE,
    hasUnevenBytes: true,
    run: async (visit) => {
      await visit.get('/docker/lab_hello_1.tar');
      stall(visit);
      const pending = await visit.begin(ONE);
      await visit.getAll(PULLS);
      await visit.get('/docker/lab_hello_1.tar');
      await visit.get(APP, JSON_PLEASE);
      await visit.get(APP, { method: 'HEAD' });
      await visit.getAll(['/health', '/ready', '/tags/team/app']);
      goOn(visit);
      await visit.finish(pending);
      await visit.get(APP);
    },
  },
  {
    name: 'one place for preparations, and a short wait',
    env: () => ({ ...ONE_PLACE, MAX_QUEUED_PREPARATIONS: '1', QUEUE_TIMEOUT: '0.3' }),
    hasUnevenBytes: true,
    run: async (visit) => {
      stall(visit);
      const pending = await visit.begin(ONE);
      await visit.getAll([APP, '/team/app:1']);
      goOn(visit);
      await visit.finish(pending);
    },
  },
  {
    name: 'few requests of one client',
    env: () => ({ MAX_REQUESTS_PER_CLIENT: '1' }),
    hasUnevenBytes: true,
    run: async (visit) => {
      stall(visit);
      const pending = await visit.begin(ONE);
      await visit.getAll([...PULLS, '/health', '/']);
      await visit.get(APP, { localAddress: '127.0.0.2' });
      await visit.get(APP, JSON_PLEASE);
      goOn(visit);
      await visit.finish(pending);
      await visit.get(APP);
    },
  },
  {
    name: 'few connections',
    env: () => ({ MAX_CONNECTIONS: '1' }),
    hasUnevenBytes: true,
    run: async (visit) => {
      stall(visit);
      const pending = await visit.begin(ONE);
      await visit.get('/health');
      await visit.get(APP);
      goOn(visit);
      await visit.finish(pending);
    },
  },
  {
    name: 'work that two requests share',
    hasUnevenBytes: true,
    run: async (visit) => {
      stall(visit);
      const pending = await visit.begin(ONE);
      const { registry } = visit.world;
      const isFetching = (body: string) => body.includes('"state":"fetching"');
      const before = registry.requests.length;
      const isAsked = () => registry.requests.some(({ path }, at) => at >= before && path.endsWith(LAYER));
      const locations = [
        await visit.prepare(ONE, {}, isFetching),
        await visit.prepare('/docker-gzip/team_one_1.tar', {}, (body) => isFetching(body) && isAsked()),
      ];
      goOn(visit);
      await visit.finish(pending);
      for (const location of locations) {
        await visit.poll(location, (body) => body.includes('"state":"done"'));
        await visit.get(location);
      }
    },
  },
  {
    name: 'clients that leave',
    hasUnevenBytes: true,
    run: async (visit) => {
      const { defects } = visit.world.registry;
      defects.stallManifest = true;
      await visit.abandon(await visit.begin(ONE), 1);
      await visit.abandon(await visit.begin('/team/one:1'), 2);
      delete defects.stallManifest;
      stall(visit);
      await visit.abandon(await visit.begin(ONE), 3);
      goOn(visit);
      await visit.get(ONE);
    },
  },
  {
    name: 'clients that leave in the middle, or do not read',
    env: () => ({ SEND_STALL_TIMEOUT: '0.5' }),
    hasUnevenBytes: true,
    run: async (visit) => {
      await visit.readHalf('/docker/team_large_1.tar', true, 1);
      await visit.readHalf('/docker/team_large_1.tar', false, 2);
      await visit.readHalf('/team/large:1?format=tar', true, 3);
    },
  },
  {
    name: 'connections that are slow, or kept',
    env: () => ({ HTTP_HEADER_TIMEOUT: '0.5', HTTP_IDLE_TIMEOUT: '0.5' }),
    run: async (visit) => {
      await visit.send('nothing', '');
      await visit.send('half a header', 'GET / HTTP/1.1\r\nHost: a\r\n');
      await visit.send('a connection that is kept', 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
      await visit.send('half a header, then', 'GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /hea');
      await visit.send('a refused list', LONG_LIST);
    },
  },
  ...(['SIGINT', 'SIGHUP'] as const).map(
    (signal): Scenario => ({
      name: `the end of the service, by ${signal}`,
      run: async (visit) => {
        process.kill(visit.service.pid, signal);
        // A service that the signal ends at once says nothing.
        await visit.service.waitForLog({ event: 'stopping' }).catch(() => undefined);
        await visit.stop();
      },
    }),
  ),
  {
    name: 'the end of the service',
    hasUnevenBytes: true,
    run: async (visit) => {
      stall(visit);
      const pending = await visit.begin(ONE);
      const stopped = visit.service.stop();
      await visit.service.waitForLog({ event: 'stopping' });
      await visit.getAll([...PULLS, '/health', '/ready', '/', '/docker/nginx.tar']);
      await visit.get(`/prepare${APP}`, { method: 'POST' });
      await visit.get(APP, JSON_PLEASE);
      goOn(visit);
      await visit.finish(pending);
      await stopped;
    },
  },
  {
    name: 'the end of the service, with what does not end',
    env: () => ({ SHUTDOWN_TIMEOUT: '0.5' }),
    hasUnevenBytes: true,
    run: async (visit) => {
      stall(visit);
      const pending = await visit.begin(ONE);
      await visit.service.stop();
      await visit.finish(pending).catch(() => undefined);
    },
  },
  {
    name: 'little telemetry, little log',
    env: () => ({ LOG_LEVEL: 'info', OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' }),
    run: (visit) => visit.getAll(['/', APP, '/docker/nginx.tar', '/docker/team_none_1.tar']),
  },
  {
    name: 'the command line',
    isWithoutService: true,
    run: async (visit) => {
      const inWorkspace = {
        HTTP_HOST: '127.0.0.1',
        HTTP_PORT: '0',
        WORKSPACE_DIR: join(visit.folder, 'workspace'),
      };
      for (const args of COMMANDS) await visit.command(args, inWorkspace);
      const { port } = visit.world.registry;
      await visit.command(['serve'], { ...inWorkspace, HTTP_PORT: String(port) });
      for (const variables of CONFIGURATIONS)
        await visit.command(['serve'], { ...inWorkspace, ...variables });
    },
  },
];
