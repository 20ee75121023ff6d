/** Requests that cannot be answered as they stand. */

import { APP, basic, words } from './scenario.ts';

const PASSWORD = 'hunter2';
const HEX = 'a'.repeat(64);

const FILENAMES = [
  ...words(`%zz_1.tar nginx_1.tar% nginx%ff_1.tar %c0%af_1.tar .. %2e%2E . nginx%00_1.tar nginx%0d%0aX-Evil:1_1.tar
    nginx%c2%85_1.tar team%2fapp_1.tar team/app_1.tar team%5capp_1.tar ../../etc/passwd_1.tar /nginx_1.tar nginx_1
    nginx_1.zip nginx.tar nginx_.tar _1.tar .tar Nginx_1.tar team____app_1.tar ngi"nx_1.tar nginx_.1.tar
    nginx_${'1'.repeat(129)}.tar ${'a'.repeat(256)}_1.tar ng%C3%AFnx_1.tar user:${PASSWORD}@host_1.tar nginx_1.tar.sha1
    nginx_1.tar.SHA256 nginx_1.tar.md5.md5 nginx_1.TAR nginx_1.tar. nginx_sha256:${HEX}.tar nginx_sha256=abc.tar
    nginx_sha256=${HEX.toUpperCase()}.tar nginx_sha999=${HEX}.tar a__b__c__d_e_1.tar -a_1.tar a-_1.tar a..b_1.tar
    a.-b_1.tar __a_1.tar a___b_1.tar nginx%20_1.tar nginx_1.tar/ a%41_1.tar`),
  '',
  'nginx_1 .tar',
];

const HOSTS = [
  ...words(`user:${PASSWORD}@host user%3A${PASSWORD}%40host user:${PASSWORD}%zz@host user:${PASSWORD}%2F@host
    user:${PASSWORD}/@host host:0 host:65536 host:abc host: host:-1 host:1:2 ::1 [::g] [::1 ho%01st
    host%0d%0aX-Evil:1 host%00 ho%20st host%3Fx host%23x host%2Fpath .. a..b 0x7f.1 127.1 2130706433
    ${'a.'.repeat(127)} ${'a'.repeat(64)} -host host- h_st %C3%BC.example host/path`),
  '',
];

const SCHEMES = [...words(`ftp HTTPS https: ht%00tp ht%tp file http%3A user:${PASSWORD}@x`), ''];

const PLATFORMS =
  words(`plan10/amd64 linux/vax linux/arm64/v77 linux linux/ /amd64 linux//v7 a/b/c/d ir9999 linux/a%00
  linux/%2e%2e linux/a%2fb linux/%zz linux/user:${PASSWORD}@host LINUX/AMD64 linux/arm/V7 windows(10.0)/amd64
  windows(x)/amd64 linux(10.0.1.1)/amd64 windows(10.0.17763.1)/arm64 all/all all`);

const REFERENCES = [
  ...words(`%zz %00 //x app//x app/ app/../x org%2Fapp app%ff app: app:a:b app@ app@sha256:abc app@sha999:${HEX}
    app@sha256:${HEX}x user:${PASSWORD}@host/app user%253A${PASSWORD}%2540host/app https://user:${PASSWORD}@host/app
    Team/app team/App host.example:99999/app host.example:/app [::1/app ${'a'.repeat(300)}:1 app:${'1'.repeat(129)}
    app:-1 -app app_:1 _app ap%20p host.example localhost/ docker.io docker.io/ sha256:abc ${HEX} ${HEX}:1
    team/nginx_1.tar docker nginx_1.tar`),
  'ap p',
];

const QUERIES =
  words(`format=zip format= format=tar&format=tgz layout=tar layout= name= name=a&name=b name=A name=a:
  name=user:${PASSWORD}@host format=user:${PASSWORD}@h layout=user:${PASSWORD}@h arch=u:${PASSWORD}%2540h
  platform=linux/arm64&arch=linux/amd64 platform= platform=linux arch=linux/arm/v7/x platform=all
  platform=all&layout=docker-gzip platform=linux/arm64?x name=sha256:abc name=a@sha256:${HEX} name=a/b:%00`);

const TYPES = words(`list index&type=image user:${PASSWORD}@host`);

/** Paths that are near those of routes. */
const NEAR_MISSES = words(`/registry /registry/https /registry/https/host /registry/https/host/nginx_1.tar
  /registry-auth/https/host /registry/https/host/zip/nginx_1.tar /registry/https/host/user:${PASSWORD}@host/nginx_1.tar
  /platform /platform/ /platform/docker/nginx_1.tar /platform/linux/amd64/alpine:1 /platform/linux/amd64/manifest/alpine
  /docker /oci/ /platform/linux/arm64/docker/nginx_1.tar?platform=linux/386 /health/ /ready/now /favicon.ico /robots.txt
  /.well-known/security.txt /manifest /manifest/ /tags /tags/ /tags/app:1 /tags/app@sha256:${HEX} /prepare /prepare/
  /prepare/health /prepare/manifest/app /prepare/docker/nginx_1 /preparations /preparations/ /preparations/%zz
  /preparations/none /preparations/a/b /docker/a_1.tar?platform=linux/arm64&arch=linux/amd64 /Docker/nginx_1.tar
  //docker/nginx_1.tar /../docker/nginx_1.tar /./health /bundle /bundle. /bundle.tar/x /docker/nginx_1.tar#fragment /?x
  /? /%2F /docker/ngïnx_1.tar`);

const LONG = [2_048, 40_960, 409_600].map((length) => `/docker/${'a'.repeat(length)}_1.tar`);

/** Targets that are refused, or nearly, without any question to a registry that could answer. */
export const BAD_TARGETS: readonly string[] = [
  ...FILENAMES.map((filename) => `/docker/${filename}`),
  ...FILENAMES.slice(0, 12).map((filename) => `/registry/http/{registry}/oci/${filename}`),
  ...HOSTS.flatMap((host) =>
    ['registry', 'registry-auth'].map((root) => `/${root}/https/${host}/docker/nginx_1.tar`),
  ),
  ...SCHEMES.map((scheme) => `/registry/${scheme}/host/docker/nginx_1.tar`),
  ...PLATFORMS.flatMap((platform) => [
    `/platform/${platform}/docker/nginx_1.tar`,
    `/platform/${platform}/registry/ftp/host/docker/nginx_1.tar`,
    `/docker/nginx.tar?platform=${platform}`,
    `/platform/${platform}/bundle.tar`,
    `/manifest/?platform=${platform}`,
  ]),
  ...REFERENCES.flatMap((reference) => [
    `/${reference}?platform=x`,
    `/manifest/${reference}?type=x`,
    `/bundle.zip?image=${reference}`,
    `/bundle.tar?image=${reference}&image=A`,
  ]),
  ...QUERIES.map((query) => `/team/none:1?${query}`),
  ...QUERIES.slice(0, 9).map((query) => `/bundle.tar?image=A&${query}`),
  ...TYPES.map((type) => `/manifest/app?type=${type}`),
  ...NEAR_MISSES,
  ...LONG,
  '/docker/ng\x01nx_1.tar',
  '/docker/ng nx_1.tar',
  'ftp://user:hunter2@host/%zz',
];

/** Values of `Authorization` that are no credentials, or odd ones. */
export const ODD_CREDENTIALS: readonly string[] = [
  '',
  'Basic',
  'Basic ',
  'Digest username="u"',
  `Bearer ${PASSWORD}`,
  `Basic user:${PASSWORD}`,
  basic('user', 'secret').replace('Basic ', ''),
  basic('user', 'secret').replace('Basic', 'basic'),
  basic('user', 'secret').replace(' ', '  '),
  `${basic('user', 'secret')}, Basic x`,
  `Basic ${Buffer.from(PASSWORD).toString('base64')}`,
  basic('user', `${PASSWORD}\n`),
  basic('', ''),
  basic('', 'secret'),
  basic('user', ''),
  basic('üser', 'secret'),
];

/** One path of each route, with some that are none. */
export const PATHS: readonly string[] =
  words(`/ /health /ready ${APP} /registry/http/{registry}/oci/team_app_1.tar
  /registry-auth/http/{registry}/docker/team_app_1.tar /platform/linux/arm64/docker/team_app_1.tar /team/app:1
  /bundle.tar?image=team/app:1 /manifest/team/app:1 /tags/team/app /preparations/${'0'.repeat(36)} /nothing/here
  /favicon.ico /docker/nginx.tar /prepare/health /preparations /prepare`);

/** Methods, those that every route has among them. */
export const METHODS = words('GET HEAD POST PUT PATCH DELETE OPTIONS TRACE PROPFIND');

const CLOSE = 'Host: service\r\nConnection: close\r\n';
const POST = `POST /bundle.tar HTTP/1.1\r\n${CLOSE}`;

/** Connections that are no plain request of HTTP/1.1. Each is closed by the service. */
export const MALFORMED: readonly (readonly [label: string, bytes: string])[] = [
  ['no HTTP', 'hello\r\n\r\n'],
  ['TLS', '\x16\x03\x01\x00\x05hello'],
  ['an unknown method', `FETCH / HTTP/1.1\r\n${CLOSE}\r\n`],
  ['HTTP/1.0', 'GET /docker/nginx.tar HTTP/1.0\r\n\r\n'],
  ['HTTP/1.0, usage', 'GET / HTTP/1.0\r\n\r\n'],
  ['HTTP/1.0, an archive', `GET ${APP}.md5 HTTP/1.0\r\n\r\n`],
  ['HTTP/2.0', `GET / HTTP/2.0\r\n${CLOSE}\r\n`],
  ['no Host', 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n'],
  ['two Hosts', `GET / HTTP/1.1\r\nHost: a\r\n${CLOSE}\r\n`],
  ['another Host', 'GET / HTTP/1.1\r\nHost: passthrough.example:80\r\nConnection: close\r\n\r\n'],
  ['absolute form', `GET http://passthrough.example${APP}.md5 HTTP/1.1\r\n${CLOSE}\r\n`],
  ['absolute form, a password', `GET http://user:${PASSWORD}@host/docker/nginx.tar HTTP/1.1\r\n${CLOSE}\r\n`],
  ['absolute form without a path', `GET http://passthrough.example HTTP/1.1\r\n${CLOSE}\r\n`],
  ['an asterisk', `OPTIONS * HTTP/1.1\r\n${CLOSE}\r\n`],
  ['CONNECT', `CONNECT registry.example:443 HTTP/1.1\r\n${CLOSE}\r\n`],
  ['upgrade', 'GET /health HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n'],
  ['Expect', `${POST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\nA\n`],
  ['Expect of something else', `${POST}Expect: more\r\nContent-Length: 2\r\n\r\nA\n`],
  ['a chunked list', `${POST}Transfer-Encoding: chunked\r\n\r\n2\r\nA\n\r\n0\r\n\r\n`],
  ['a bad chunk', `${POST}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
  ['two lengths', `${POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\nA\n`],
  ['a header without a colon', `GET / HTTP/1.1\r\n${CLOSE}nonsense\r\n\r\n`],
  ['a header that is too long', `GET / HTTP/1.1\r\n${CLOSE}X-Long: ${'a'.repeat(40_000)}\r\n\r\n`],
  ['two requests', `GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /docker/nginx.tar HTTP/1.1\r\n${CLOSE}\r\n`],
  ['two archives', `GET ${APP}.md5 HTTP/1.1\r\nHost: a\r\n\r\nGET ${APP}.sha256 HTTP/1.1\r\n${CLOSE}\r\n`],
  ['a body to a GET', `GET /docker/nginx.tar HTTP/1.1\r\n${CLOSE}Content-Length: 5\r\n\r\nhello`],
];
