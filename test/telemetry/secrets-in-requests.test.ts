/** Spans, metrics and logs contain no secrets from wrong places in requests, and no baggage. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.ts';
import { makeImage, makeLayer } from '../support/image.ts';
import { connectRaw } from '../support/raw-client.ts';
import { startWatched } from './leaks.ts';

type Headers = Readonly<Record<string, string>>;

const FILE = '/docker/team_secretive_1.tar';

/** Passwords in URLs. The second contains separators of URLs. */
const PASSWORD = 'Hu9nt-Er7gebnis';
const PARTED = 'Vb3kLm9Qw8x/eRt5yUi7o2w?nPa4sDf6g1h';
const KEY = 'key-Tz6Wq1Xc8Jf';
const SECRETS = { PASSWORD, KEY, ...Object.fromEntries(PARTED.split(/[/?]/).entries()) };

/** The password with all bytes percent-encoded. */
const PERCENT = [...Buffer.from(PASSWORD)].map((byte) => `%${byte.toString(16)}`).join('');

let registry: FakeRegistry;
before(async () => {
  registry = await startFakeRegistry();
  registry.push('team/secretive', '1', makeImage({ layers: [{ tar: makeLayer({ a: 'a' }) }] }));
});
after(() => registry.close());

describe('there is no trace of', { concurrency: true }, () => {
  test('credentials in a path', async () => {
    await using watched = await startWatched({ REGISTRY_URL: registry.url });
    const { host } = registry;
    const credentials = [
      `user:${PASSWORD}@`,
      `user:${PASSWORD}%40`,
      `user%3A${PASSWORD}%40`,
      `user%3a${PERCENT}%40`,
      `user%253A${PASSWORD}%2540`,
      `user:${PARTED.replace('?', '%3F')}@`,
      `user:${PARTED.replaceAll('/', '%2F').replace('?', '%3F')}@`,
      `${PASSWORD}@`,
    ];
    const paths = credentials.flatMap((text) => [
      `/registry/http/${text}${host}/docker/team_secretive_1.tar`,
      `/registry-auth/https/${text}${host}/docker/team_secretive_1.tar`,
      `/registry/http://${text}${host}/docker/team_secretive_1.tar`,
      `/registry/${text}http/${host}/docker/team_secretive_1.tar`,
      `/registry/http/${host}/${text}docker/team_secretive_1.tar`,
      `/registry/http/${host}/docker/${text}team_secretive_1.tar`,
      `/platform/linux/${text}amd64/docker/team_secretive_1.tar`,
      `/docker/${text}team_secretive_1.tar`,
      `/docker/team/${text}secretive_1.tar`,
      `/${text}${host}/team/secretive:1`,
      `http://${text}${host}${FILE}x`,
      `https://${host}/${text}`,
    ]);
    for (const path of paths) {
      const { status } = await watched.request(path);
      assert.ok(status >= 400, `${path}: ${status}`);
    }
    assert.equal((await watched.request(FILE)).status, 200);
    await watched.assertSilent(SECRETS, 'team/secretive');
  });

  test('unknown parameters of a query, and credentials in known ones', async () => {
    await using watched = await startWatched({ REGISTRY_URL: registry.url });
    const queries: readonly [query: string, status: number][] = [
      [`token=${KEY}`, 400],
      [`access_token=${KEY}&platform=linux/amd64`, 400],
      [KEY, 400],
      [`${KEY}=1`, 400],
      [`=${KEY}`, 400],
      [`a=b?token=${KEY}`, 400],
      [`X-Amz-Signature=${KEY}&utm_source=${PASSWORD}`, 200],
      [`platform=linux/amd64;token=${KEY}@`, 400],
      [`platform=user:${PASSWORD}@x`, 400],
      [`platform=user%3A${PASSWORD}%40x`, 400],
      [`platform=user%253A${PERCENT}%2540x`, 400],
      [`arch=user:${PASSWORD}@x`, 400],
      [`platform=linux/amd64&arch=user:${PASSWORD}@x`, 400],
      [`platform=user:${PARTED}@x`, 400],
    ];
    for (const [query, status] of queries) {
      assert.equal((await watched.request(`${FILE}?${query}`)).status, status, query);
    }
    for (const path of [`/?token=${KEY}`, `/nothing/here?token=${KEY}`, `/docker/x.tar?${KEY}`]) {
      await watched.request(path);
    }
    await watched.assertSilent(SECRETS, 'team/secretive');
  });

  test('credentials in a header', async () => {
    await using watched = await startWatched({ REGISTRY_URL: registry.url });
    const base64 = Buffer.from(`user:${PASSWORD}`).toString('base64');
    const all: readonly Headers[] = [
      { Host: `user:${PASSWORD}@passthrough.example` },
      { Host: `user:${PASSWORD}` },
      { Host: `user:${PARTED}@passthrough.example` },
      { 'X-Forwarded-Host': `user:${PASSWORD}@passthrough.example` },
      { Forwarded: `host="user:${PASSWORD}@passthrough.example";for="${PASSWORD}";proto=${KEY}` },
      { 'X-Forwarded-For': `user:${PASSWORD}@192.0.2.1`, 'X-Forwarded-Proto': KEY },
      { Authorization: `Bearer ${KEY}` },
      { Authorization: `Basic ${KEY}!` },
      { Authorization: `Basic ${Buffer.from(PASSWORD).toString('base64')}` },
      { Authorization: PASSWORD },
      { 'Proxy-Authorization': `Basic ${base64}` },
      { Cookie: `session=${KEY}` },
      { 'X-Registry-Auth': base64, 'X-Api-Key': KEY },
      { Referer: `http://user:${PASSWORD}@passthrough.example/?token=${KEY}` },
      { Origin: `http://user:${PASSWORD}@passthrough.example` },
    ];
    for (const headers of all) {
      const { status } = await watched.request(FILE, { headers });
      const refused = 'Host' in headers ? 400 : 'Authorization' in headers ? 401 : undefined;
      assert.equal(status, refused ?? 200, JSON.stringify(headers));
    }
    assert.doesNotMatch(JSON.stringify(registry.requests), /Hu9nt|key-Tz6|x-registry-auth|cookie/);
    await watched.assertSilent({ ...SECRETS, base64 }, 'team/secretive');
  });

  test('malformed requests', async () => {
    await using watched = await startWatched({ REGISTRY_URL: registry.url });
    for (const text of [
      `GET http://user:${PASSWORD}@[/ HTTP/1.1\r\nHost: a\r\n\r\n`,
      `GET ${FILE} HTTP/1.1\r\nHost: a\r\nAuthorization: ${PASSWORD}\r\nContent-Length: ${KEY}\r\n\r\n`,
      `GET ${FILE} HTTP/1.1\r\n${KEY} ${PASSWORD}\r\n\r\n`,
      `CONNECT user:${PASSWORD}@registry.example:443 HTTP/1.1\r\nHost: a\r\n\r\n`,
      `${KEY} ${FILE} HTTP/1.1\r\nHost: a\r\n\r\n`,
    ]) {
      using client = await connectRaw(watched.service.port);
      client.socket.end(text);
      await client.untilClosed();
    }
    assert.equal((await watched.request(FILE)).status, 200);
    await watched.assertSilent(SECRETS, 'team/secretive');
  });

  test('baggage, in contrast to the trace context of the same request', async () => {
    await using watched = await startWatched({ REGISTRY_URL: registry.url });
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const headers = {
      traceparent: `00-${traceId}-b7ad6b7169203331-01`,
      baggage: `session=${KEY},user=${PASSWORD};${KEY}`,
    };
    const before = registry.requests.length;
    assert.equal((await watched.request(FILE, { headers })).status, 200);
    const upstream = registry.requests.slice(before).map((request) => Object.keys(request.headers));
    assert.ok(upstream.length >= 3);
    await watched.assertSilent(SECRETS, 'team/secretive');
    assert.ok(watched.receiver.spans.every((span) => span.traceId === traceId));
    assert.doesNotMatch(upstream.flat().join(' '), /baggage|trace/);
  });
});
