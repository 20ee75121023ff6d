/** Scenarios: what of a request itself makes the answer another one, and requests that are refused. */

import { BAD_TARGETS, MALFORMED, METHODS, ODD_CREDENTIALS, PATHS } from './bad-requests.ts';
import { IMAGES } from './images.ts';
import { APP, JSON_PLEASE, LAYOUTS, type Scenario, words } from './scenario.ts';
import type { EnvironmentOf } from './side.ts';

const RANGES = [
  ...words(`bytes=0- bytes=0-0 bytes=100-199 bytes=65535-65536 bytes=-1 bytes=-500 bytes=-99999999 bytes=99999999-
    bytes=-0 bytes=5-2 bytes=0-1,5-6 items=0-1 bytes bytes=a-b`),
  'BYTES = 1 - 2',
];

const ACCEPTS = [
  ...words(`application/problem+json application/json */* text/plain text/html,application/xhtml+xml,*/*;q=0.8
    application/json;q=0 nonsense`),
  'application/json;q=0.5, text/plain',
  'text/plain;q=0.5, application/json',
  'application/problem+json; charset=utf-8',
  'text/*;q=0.9, application/problem+json;q=0.9',
  '',
];

/** No host that a target names by mistake is looked up. */
const allowOne: EnvironmentOf = ({ registry }) => ({ REGISTRY_ALLOWED_HOSTS: registry.host });

/** Scenarios of this file. */
export const REQUEST_SCENARIOS: readonly Scenario[] = [
  {
    name: 'what is refused without the registry',
    env: allowOne,
    run: async (visit) => {
      for (const target of BAD_TARGETS) await visit.target(target);
    },
  },
  {
    name: 'what is refused without the registry, as problem documents',
    env: allowOne,
    run: async (visit) => {
      for (const target of BAD_TARGETS.filter((_, at) => at % 6 === 0)) {
        await visit.target(target, ['Accept: application/problem+json']);
      }
      for (const accept of ACCEPTS) {
        for (const path of ['/docker/nginx.tar', '/favicon.ico', '/docker/team_none_1.tar']) {
          await visit.get(path, { headers: { accept } });
        }
      }
      await visit.get('/docker/nginx.tar', { ...JSON_PLEASE, method: 'HEAD' });
      await visit.get(APP, { ...JSON_PLEASE, method: 'PUT' });
    },
  },
  {
    name: 'credentials that cannot be read',
    run: async (visit) => {
      for (const value of ODD_CREDENTIALS) {
        for (const path of [
          APP,
          '/registry-auth/http/{registry}/docker/team_app_1.tar',
          '/team/app:1',
          '/tags/team/app',
        ]) {
          await visit.target(path, [`Authorization: ${value}`]);
        }
      }
    },
  },
  {
    name: 'paths and methods',
    run: async (visit) => {
      for (const path of PATHS) {
        for (const method of METHODS) await visit.get(path, { method });
      }
    },
  },
  {
    name: 'what is hardly HTTP',
    run: async (visit) => {
      for (const [label, bytes] of MALFORMED) await visit.send(label, visit.expand(bytes));
    },
  },
  {
    name: 'ranges and conditions',
    run: async (visit) => {
      for (const path of [
        ...LAYOUTS.map((layout) => `/${layout}/team_data_1.tar`),
        '/team/data:1',
        `${APP}.md5`,
      ]) {
        const etag = (await visit.get(path)).header('etag');
        for (const range of RANGES) await visit.get(path, { headers: { range } });
        await visit.get(path, { method: 'HEAD', headers: { range: 'bytes=0-9' } });
        for (const tag of [etag, `W/${etag}`, '"other"', 'Wed, 21 Oct 2026 07:28:00 GMT']) {
          await visit.get(path, { headers: { range: 'bytes=100000-', 'if-range': tag } });
          await visit.get(path, { headers: { 'if-none-match': tag } });
        }
        for (const tag of ['*', `"a", ${etag}`, etag.slice(1, -1)]) {
          await visit.get(path, { headers: { 'if-none-match': tag } });
          await visit.get(path, { method: 'HEAD', headers: { 'if-none-match': tag } });
        }
        await visit.get(path, {
          headers: { 'if-match': '"other"', 'if-modified-since': 'Wed, 21 Oct 2026 07:28:00 GMT' },
        });
      }
    },
  },
  {
    name: 'a tag that moves under a client',
    run: async (visit) => {
      for (const path of [
        '/docker/team_data_1.tar',
        '/docker-gzip/team_data_1.tar',
        '/oci/team_data_1.tgz',
      ]) {
        visit.world.registry.push('team/data', '1', IMAGES.DATA);
        const before = (await visit.get(path)).header('etag');
        const rest = { range: 'bytes=1000-' };
        await visit.get(path, { headers: rest });
        visit.world.registry.push('team/data', '1', IMAGES.MOVED);
        await visit.get(path, { headers: { ...rest, 'if-range': before } });
        await visit.get(path, { headers: rest });
        await visit.get(path, { headers: rest });
        await visit.get(path, { headers: rest, localAddress: '127.0.0.2' });
        await visit.get(path, { headers: { 'if-none-match': before } });
        await visit.get(path, { method: 'HEAD' });
        const after = (await visit.get(path)).header('etag');
        await visit.get(path, { headers: { ...rest, 'if-range': after } });
        await visit.get(path, { headers: rest });
      }
    },
  },
  {
    name: 'traces and addresses that come with a request',
    env: () => ({ OTEL_PROPAGATE_UPSTREAM: 'true' }),
    run: async (visit) => {
      const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
      for (const headers of [
        { traceparent },
        { traceparent: `00-${'c'.repeat(32)}-${'d'.repeat(16)}-00` },
        { traceparent: 'nonsense', baggage: 'user=hunter2' },
        { forwarded: 'for="[2001:db8::1]:4711";proto=https;host=passthrough.example' },
        {
          'x-forwarded-for': '192.0.2.1, 198.51.100.2',
          'x-forwarded-proto': 'https',
          'x-forwarded-host': 'a.example:99',
        },
        { 'x-forwarded-for': 'unknown', forwarded: 'for=192.0.2.43:80' },
        { host: 'passthrough.example', 'user-agent': 'curl/8' },
      ]) {
        for (const path of [APP, '/docker/nginx.tar', '/', '/docker/team_none_1.tar'])
          await visit.get(path, { headers });
      }
      await visit.getAll(
        words(`${APP}?platform=linux/arm64&secret=hunter2&x ${APP}?platform=user:hunter2@host
    /user:hunter2@host/app /team/app:1?name=hunter2`),
      );
    },
  },
];
