/**
 * Malformed requests get 400, 401 or 404 with a reason, before the registry is asked. The tests of `image/`, `registry/` and
 * `routing/` have all malformed texts; here are one or two for each part of a request, and those that could harm as raw bytes.
 */

import assert from 'node:assert/strict';
import diagnostics from 'node:diagnostics_channel';
import { after, before, describe, test } from 'node:test';
import { basic, type Pair, startPair } from '../support/pair.ts';
import { connectRaw } from '../support/raw-client.ts';

const PASSWORD = 'hunter2';

interface BadRequest {
  /** As in the request line, byte for byte. */
  readonly target: string;
  /** Beginning of the first line of the body. */
  readonly title: string;
  /** The reason in the first line. */
  readonly reason: RegExp;
  readonly status?: number;
  /** Value of `Authorization`. */
  readonly authorization?: string;
}

function rows(title: string, targets: readonly (readonly [target: string, reason: RegExp])[]): BadRequest[] {
  return targets.map(([target, reason]) => ({ target, title, reason }));
}

const FILENAMES = rows(
  'Invalid filename format',
  (
    [
      ['%zz_1.tar', /malformed percent-encoding/],
      ['nginx%ff_1.tar', /malformed percent-encoding/],
      ['..', /dot segments/],
      ['%2e%2E', /dot segments/],
      ['nginx%00_1.tar', /control character/],
      ['nginx%0d%0aX-Evil:1_1.tar', /control character/],
      ['', /it is empty/],
      ['team%2fapp_1.tar', /holds a slash/],
      ['team%5capp_1.tar', /holds a slash/],
      ['../../etc/passwd_1.tar', /holds a slash/],
      ['nginx_1.zip', /must end in \.tar/],
      ['nginx.tar', /no underscore/],
      ['Nginx_1.tar', /not lower case/],
      ['ngi"nx_1.tar', /component/],
      ['ng%C3%AFnx_1.tar', /component/],
      [`user:${PASSWORD}@host_1.tar`, /credentials/],
    ] as const
  ).map(([filename, reason]) => [`/docker/${filename}`, reason] as const),
);

const HOSTS = rows(
  'Invalid registry',
  (
    [
      [`user:${PASSWORD}@host`, /credentials/],
      [`user%3A${PASSWORD}%40host`, /credentials/],
      [`user:${PASSWORD}%zz@host`, /credentials/],
      [`user:${PASSWORD}/@host`, /slash/],
      ['host:65536', /port must be a number from 1 to 65535/],
      ['::1', /brackets/],
      ['host%0d%0aX-Evil:1', /control character/],
      ['', /it is empty/],
      ['host%2Fpath', /slash/],
      ['..', /dot segments/],
      ['0x7f.1', /host "0x7f\.1"/],
    ] as const
  ).flatMap(([host, reason]) =>
    ['registry', 'registry-auth'].map(
      (root) => [`/${root}/https/${host}/docker/nginx_1.tar`, reason] as const,
    ),
  ),
);

const OTHERS = [
  ...rows('Invalid registry', [
    ['/registry/ftp/host/docker/nginx_1.tar', /scheme "ftp"/],
    ['/registry/ht%00tp/host/docker/nginx_1.tar', /scheme .*control character/],
  ]),
  ...rows('Invalid platform', [
    ['/platform/plan10/amd64/docker/nginx_1.tar', /operating system "plan10"/],
    ['/platform/linux/vax/registry/https/host/docker/nginx_1.tar', /architecture "vax"/],
    ['/docker/nginx_1.tar?platform=linux/arm64/v77', /variant "v77"/],
    ['/docker/nginx_1.tar?platform=', /platform ""/],
    ['/docker/nginx_1.tar?platform=linux', /os\/arch/],
    ['/docker/nginx_1.tar?arch=linux/arm/v7/x', /os\/arch/],
    ['/platform/linux/a%00/docker/nginx_1.tar', /control character/],
    ['/platform/linux/arm64/docker/a_1.tar?platform=linux/386', / and /],
    [`/docker/a_1.tar?arch=u:${PASSWORD}@h`, /credentials/],
  ]),
  ...rows('Invalid image reference', [
    ['/%zz', /reference "%zz"/],
    ['//docker/nginx_1.tar', /reference ""/],
    ['/../docker/nginx_1.tar', /dot segments/],
    [`/docker/${'a'.repeat(2_048)}_1.tar`, /path: it is longer than 2048/],
    [`/docker/${'a'.repeat(40_960)}_1.tar`, /path: it is longer than 32768/],
    [`/docker/${'a'.repeat(409_600)}_1.tar`, /path: it is longer than 32768/],
  ]),
  // Node refuses bytes that are not allowed in a request line.
  ...rows('Invalid request', [
    ['/docker/ngïnx_1.tar', /HTTP: .*url/i],
    ['/docker/ng\x01nx_1.tar', /HTTP: .*url/i],
  ]),
  ...rows('Not found', [
    ['/favicon.ico', /No route/],
    ['/registry/https/host/zip/nginx_1.tar', /layout "zip"/],
  ]).map((row) => ({ ...row, status: 404 })),
];

const CREDENTIALS: readonly BadRequest[] = (
  [
    [`Bearer ${PASSWORD}`, /scheme is not Basic/],
    ['', /scheme is not Basic/],
    [`Basic user:${PASSWORD}`, /not base64/],
    [`Basic ${Buffer.from(PASSWORD).toString('base64')}`, /no colon/],
    [basic('user', `${PASSWORD}\n`), /control character/],
  ] as const
).flatMap(([authorization, reason]) =>
  ['/docker/team_app_1.tar', '/registry-auth/http/{host}/docker/team_app_1.tar'].map((target) => {
    return { target, authorization, reason, status: 401, title: 'Registry credentials are required' };
  }),
);

describe('a malformed request', () => {
  let pair: Pair;
  /** Requests of the service to any host: the test itself uses raw sockets. */
  let asked = 0;
  const count = () => {
    asked += 1;
  };
  before(async () => {
    pair = await startPair({}, () => undefined);
    diagnostics.subscribe('http.client.request.created', count);
  });
  after(async () => {
    diagnostics.unsubscribe('http.client.request.created', count);
    await pair[Symbol.asyncDispose]();
  });

  for (const { target, title, reason, status = 400, authorization } of [
    ...FILENAMES,
    ...HOSTS,
    ...OTHERS,
    ...CREDENTIALS,
  ]) {
    const what = authorization === undefined ? '' : `, Authorization ${JSON.stringify(authorization)},`;
    test(`${JSON.stringify(target.slice(0, 60))}${what} is ${status}: ${reason.source}`, async () => {
      const { service, registry } = pair;
      using client = await connectRaw(service.port);
      const path = Buffer.from(target.replace('{host}', registry.host));
      const headers = ['Host: service', 'Connection: close'];
      if (authorization !== undefined) headers.push(`Authorization: ${authorization}`);
      const rest = ` HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`;
      client.send(Buffer.concat([Buffer.from('GET '), path, Buffer.from(rest)]));
      const answer = (await client.untilClosed()).toString();

      const [head = '', body = ''] = answer.split('\r\n\r\n');
      const [line = ''] = body.split('\n', 1);
      assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.match(head, /^content-type: text\/plain; charset=utf-8\r?$/im);
      assert.match(head, new RegExp(`^content-length: ${Buffer.byteLength(body)}\r?$`, 'im'));
      assert.doesNotMatch(head, /x-evil/i);
      assert.equal(line.slice(0, title.length + 2), `${title}: `);
      assert.match(line, reason);
      if (status === 401) {
        assert.match(head, /^www-authenticate: Basic realm="registry credentials"\r?$/im);
      }
      assert.equal(asked, 0, 'no host is asked');
      assert.deepEqual(registry.requests, []);
      for (const secret of [PASSWORD, Buffer.from(PASSWORD).toString('base64').slice(0, 8)]) {
        assert.ok(!answer.includes(secret), `the answer contains ${secret}`);
        assert.ok(!service.logText().includes(secret), `the log contains ${secret}`);
      }
    });
  }

  const hosts: readonly [fields: string, status: number][] = [
    ['Host: a\r\nHost: a\r\n', 400],
    ['Host: a\r\nhost: b\r\n', 400],
    ['Host: a\r\nX: y\r\nHOST:\r\n', 400],
    ['', 400],
    ['Host: a b\r\n', 400],
    ['Host: a/b\r\n', 400],
    ['Host: u@a\r\n', 400],
    ['Host: a:b\r\n', 400],
    ['Host: a:80:80\r\n', 400],
    ['Host: ::1\r\n', 400],
    ['Host: a?b\r\n', 400],
    ['Host: a\x9bb\r\n', 400],
    ['Host:\r\n', 200],
    ['Host: a_b.example\r\n', 200],
    ['Host: 10.0.0.5:8080\r\n', 200],
    ['Host: [::1]:8080\r\n', 200],
    ['Host: [fe80::1%25eth0]\r\n', 200],
    ['Host: xn--nxasmq6b.example:\r\n', 200],
  ];
  for (const [fields, status] of hosts) {
    for (const path of ['/', '/health', 'http://other.example/health']) {
      test(`${JSON.stringify(fields)} for ${path} is ${status}`, async () => {
        using client = await connectRaw(pair.service.port);
        client.send(`GET ${path} HTTP/1.1\r\n${fields}Connection: close\r\n\r\n`);
        assert.match((await client.untilClosed()).toString('latin1'), new RegExp(`^HTTP/1\\.1 ${status} `));
      });
    }
  }

  test('without Host is answered in HTTP/1.0', async () => {
    using client = await connectRaw(pair.service.port);
    client.send('GET /health HTTP/1.0\r\n\r\n');
    assert.match((await client.untilClosed()).toString(), /^HTTP\/1\.1 200 /);
  });

  test('does not affect later requests', async () => {
    assert.equal((await pair.request('/ready')).status, 200);
    await pair.assertIdle();
  });
});
