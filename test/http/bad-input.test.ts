/** What can be told to be wrong without the registry: refused at once, in words, and the registry hears nothing of it. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { basic, type Pair, startPair } from '../support/pair.ts';
import { connectRaw } from '../support/raw-client.ts';

/** Milliseconds that a refusal may take. It takes one or two; a request that went anywhere would take longer to fail. */
const AT_ONCE_MS = 1_000;

const PASSWORD = 'hunter2';

interface BadRequest {
  readonly what: string;
  /** As it stands in the request line, byte for byte. */
  readonly target: string;
  readonly headers?: readonly string[];
  readonly status: number;
  /** What the first line of the body begins with. */
  readonly title: string;
  /** Names the part. */
  readonly says: RegExp;
}

function bad(what: string, target: string, title: string, says: RegExp): BadRequest {
  return { what, target, status: title === 'Not found' ? 404 : 400, title, says };
}

const FILENAME = 'Invalid filename format';
const PLATFORM = 'Invalid platform';
const REGISTRY = 'Invalid registry';
const REFERENCE = 'Invalid image reference';

const FILENAMES: readonly BadRequest[] = [
  ['malformed percent-encoding', '%zz_1.tar', /malformed percent-encoding/],
  ['a percent sign at the end', 'nginx_1.tar%', /malformed percent-encoding/],
  ['percent-encoding that is no UTF-8', 'nginx%ff_1.tar', /malformed percent-encoding/],
  ['two dots', '..', /dot segments/],
  ['two encoded dots', '%2e%2E', /dot segments/],
  ['one dot', '.', /dot segments/],
  ['NUL', 'nginx%00_1.tar', /control character/],
  ['a line break', 'nginx%0d%0aX-Evil:1_1.tar', /control character/],
  ['nothing', '', /it is empty/],
  ['an encoded slash', 'team%2fapp_1.tar', /holds a slash/],
  ['a slash', 'team/app_1.tar', /holds a slash/],
  ['a backslash', 'team%5capp_1.tar', /holds a slash/],
  ['a way up', '../../etc/passwd_1.tar', /holds a slash/],
  ['no extension', 'nginx_1', /must end in \.tar/],
  ['another extension', 'nginx_1.zip', /must end in \.tar/],
  ['no tag', 'nginx.tar', /no underscore/],
  ['an empty tag', 'nginx_.tar', /tag is empty/],
  ['an empty image', '_1.tar', /image is empty/],
  ['the extension alone', '.tar', /no underscore/],
  ['upper case', 'Nginx_1.tar', /not lower case/],
  ['an empty part of a path', 'team____app_1.tar', /empty component/],
  ['a quotation mark', 'ngi"nx_1.tar', /component/],
  ['a tag that begins with a dot', 'nginx_.1.tar', /tag "\.1"/],
  ['a tag of 129 characters', `nginx_${'1'.repeat(129)}.tar`, /tag is longer than 128 characters/],
  ['a repository of 256 characters', `${'a'.repeat(256)}_1.tar`, /repository is longer than 255 characters/],
  ['a letter outside of ASCII', 'ng%C3%AFnx_1.tar', /component/],
].map(([what, filename, says]) =>
  bad(`a filename with ${what}`, `/docker/${filename}`, FILENAME, says as RegExp),
);

const HOSTS: readonly BadRequest[] = [
  ['userinfo', `user:${PASSWORD}@host`, /credentials/],
  ['encoded userinfo', `user%3A${PASSWORD}%40host`, /credentials/],
  ['userinfo that cannot be decoded', `user:${PASSWORD}%zz@host`, /credentials/],
  ['userinfo with an encoded slash', `user:${PASSWORD}%2F@host`, /credentials/],
  ['userinfo with NUL', `user:${PASSWORD}%00@host`, /credentials/],
  ['userinfo with a slash', `user:${PASSWORD}/@host`, /slash/],
  ['port 0', 'host:0', /port must be a number from 1 to 65535/],
  ['port 65536', 'host:65536', /port must be/],
  ['a port of letters', 'host:abc', /port must be/],
  ['an empty port', 'host:', /port must be/],
  ['a negative port', 'host:-1', /port must be/],
  ['two ports', 'host:1:2', /host "host:1:2"/],
  ['an IPv6 address without brackets', '::1', /brackets/],
  ['an IPv6 address that is none', '[::g]', /host "\[::g\]"/],
  ['an IPv6 address without its end', '[::1', /host "\[::1"/],
  ['a control character', 'ho%01st', /control character/],
  ['a line break', 'host%0d%0aX-Evil:1', /control character/],
  ['NUL', 'host%00', /control character/],
  ['nothing', '', /it is empty/],
  ['a space', 'ho%20st', /host "ho st"/],
  ['a query', 'host%3Fx', /host "host\?x"/],
  ['a fragment', 'host%23x', /host "host#x"/],
  ['a path', 'host%2Fpath', /slash/],
  ['two dots', '..', /dot segments/],
  ['an empty label', 'a..b', /host "a\.\.b"/],
  ['a number that a URL reads as address', '0x7f.1', /host "0x7f\.1"/],
  ['254 characters', `${'a.'.repeat(127)}`, /host/],
  ['a label of 64 characters', 'a'.repeat(64), /host/],
].flatMap(([what, host, says]) =>
  ['registry', 'registry-auth'].map((root) =>
    bad(
      `a host with ${what} behind ${root}`,
      `/${root}/https/${host}/docker/nginx_1.tar`,
      REGISTRY,
      says as RegExp,
    ),
  ),
);

const SCHEMES: readonly BadRequest[] = [
  ['ftp', 'ftp', /scheme "ftp"/],
  ['upper case', 'HTTPS', /scheme "HTTPS"/],
  ['a colon', 'https:', /scheme "https:"/],
  ['nothing', '', /scheme "": it is empty/],
  ['NUL', 'ht%00tp', /scheme .*control character/],
  ['malformed encoding', 'ht%tp', /scheme .*malformed/],
].map(([what, scheme, says]) =>
  bad(`a scheme with ${what}`, `/registry/${scheme}/host/docker/nginx_1.tar`, REGISTRY, says as RegExp),
);

const PLATFORMS: readonly BadRequest[] = [
  ['an unknown system', 'plan10/amd64', /operating system "plan10"/],
  ['an unknown architecture', 'linux/vax', /architecture "vax"/],
  ['an unknown variant', 'linux/arm64/v77', /variant "v77"/],
].flatMap(([what, platform, says]) => [
  bad(`a path with ${what}`, `/platform/${platform}/docker/nginx_1.tar`, PLATFORM, says as RegExp),
  bad(`a query with ${what}`, `/docker/nginx_1.tar?platform=${platform}`, PLATFORM, says as RegExp),
  bad(
    `a path with ${what} before a registry`,
    `/platform/${platform}/registry/https/host/docker/nginx_1.tar`,
    PLATFORM,
    says as RegExp,
  ),
]);

const OTHERS: readonly BadRequest[] = [
  bad('an empty platform', '/docker/nginx_1.tar?platform=', PLATFORM, /platform ""/),
  bad('a platform without architecture', '/docker/nginx_1.tar?platform=linux', PLATFORM, /os\/arch/),
  bad('a platform of four parts', '/docker/nginx_1.tar?arch=linux/arm/v7/x', PLATFORM, /os\/arch/),
  bad('a platform with NUL', '/platform/linux/a%00/docker/nginx_1.tar', PLATFORM, /control character/),
  bad('a platform with an empty part', '/platform//amd64/docker/nginx_1.tar', PLATFORM, /it is empty/),
  bad('two platforms', '/platform/linux/arm64/docker/a_1.tar?platform=linux/386', PLATFORM, / and /),
  bad('a platform with a password', `/docker/a_1.tar?arch=u:${PASSWORD}@h`, PLATFORM, /credentials/),
  bad('a path that cannot be decoded', '/%zz', REFERENCE, /reference "%zz"/),
  bad('a path with an empty part', '//docker/nginx_1.tar', REFERENCE, /reference ""/),
  bad('a path with two dots', '/../docker/nginx_1.tar', REFERENCE, /dot segments/),
  bad('a path of 2 KB', `/docker/${'a'.repeat(2_048)}_1.tar`, REFERENCE, /path: it is longer than 2048/),
  bad('a path of 40 KB', `/docker/${'a'.repeat(40_960)}_1.tar`, REFERENCE, /path: it is longer than 32768/),
  bad('a path of 400 KB', `/docker/${'a'.repeat(409_600)}_1.tar`, REFERENCE, /path: it is longer than 32768/),
  bad('a password in a filename', `/docker/user:${PASSWORD}@host_1.tar`, FILENAME, /credentials/),
  bad('a letter outside of ASCII as it is', '/docker/ngïnx_1.tar', 'Invalid request', /HTTP: .*url/i),
  bad('a control character as it is', '/docker/ng\x01nx_1.tar', 'Invalid request', /HTTP: .*url/i),
  bad('a path that is no image', '/favicon.ico', 'Not found', /No route/),
  bad('an unknown layout', '/registry/https/host/zip/nginx_1.tar', 'Not found', /layout "zip"/),
];

const CREDENTIALS: readonly BadRequest[] = (
  [
    ['is not Basic', `Bearer ${PASSWORD}`, /scheme is not Basic/],
    ['has no scheme', Buffer.from(`user:${PASSWORD}`).toString('base64'), /scheme is not Basic/],
    ['is empty', '', /scheme is not Basic/],
    ['is not base64', `Basic user:${PASSWORD}`, /not base64/],
    ['has nothing behind Basic', 'Basic', /not base64/],
    ['has no colon', `Basic ${Buffer.from(PASSWORD).toString('base64')}`, /no colon/],
    ['holds a control character', basic('user', `${PASSWORD}\n`), /control character/],
    ['is empty on both sides of the colon', basic('', ''), /empty/],
  ] as const
).flatMap(([what, header, says]) =>
  ['/docker/team_app_1.tar', '/registry-auth/http/{host}/docker/team_app_1.tar'].map((target) => ({
    what: `Authorization that ${what}, sent to ${target},`,
    target,
    headers: [`Authorization: ${header}`],
    status: 401,
    title: 'Registry credentials are required',
    says,
  })),
);

const ALL = [...FILENAMES, ...HOSTS, ...SCHEMES, ...PLATFORMS, ...OTHERS, ...CREDENTIALS];

describe('bad input', () => {
  let pair: Pair;
  before(async () => {
    pair = await startPair({}, () => undefined);
  });
  after(() => pair[Symbol.asyncDispose]());

  for (const { what, target, headers = [], status, title, says } of ALL) {
    test(`${what} is ${status}, at once and without the registry`, async () => {
      const { service, registry } = pair;
      using client = await connectRaw(service.port);
      const begun = performance.now();
      const path = Buffer.from(target.replace('{host}', registry.host));
      const lines = ['Host: service', 'Connection: close', ...headers].join('\r\n');
      client.send(Buffer.concat([Buffer.from('GET '), path, Buffer.from(` HTTP/1.1\r\n${lines}\r\n\r\n`)]));
      const answer = (await client.untilClosed()).toString();
      const took = performance.now() - begun;

      const [head = '', body = ''] = answer.split('\r\n\r\n');
      const [line = ''] = body.split('\n', 1);
      assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.match(head, /^content-type: text\/plain; charset=utf-8\r?$/im);
      assert.match(head, new RegExp(`^content-length: ${Buffer.byteLength(body)}\r?$`, 'im'));
      assert.doesNotMatch(head, /x-evil/i);
      assert.equal(line.slice(0, title.length + 2), `${title}: `);
      assert.match(line, says);
      if (status === 401) {
        assert.match(head, /^www-authenticate: Basic realm="registry credentials"\r?$/im);
      }
      assert.ok(took < AT_ONCE_MS, `it took ${took} ms`);
      assert.deepEqual(registry.requests, []);
      for (const secret of [PASSWORD, Buffer.from(PASSWORD).toString('base64').slice(0, 8)]) {
        assert.ok(!answer.includes(secret), `the answer holds ${secret}`);
        assert.ok(!service.logText().includes(secret), `the log holds ${secret}`);
      }
    });
  }

  test('leaves the service as it was', async () => {
    assert.equal((await pair.service.request('/ready')).status, 200);
    assert.equal(await pair.service.openFiles(), 0);
  });
});
