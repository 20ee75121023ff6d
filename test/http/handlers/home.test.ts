/** `GET /`: the page for browsers, text for all others. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { type Choice, NO_CHOICE } from '../../../src/web/choice.ts';
import { targetOf } from '../../../src/web/target.ts';
import { makeAuthority } from '../../support/authority.ts';
import { makeImage, makeLayer } from '../../support/image.ts';
import { type Pair, startPair } from '../../support/pair.ts';
import { type Reply, request, startTestService } from '../../support/service.ts';
import { writeTls } from '../../support/tls-server.ts';

const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8';
const HTML = 'text/html; charset=utf-8';
const TEXT = 'text/plain; charset=utf-8';

const bottom = { tar: makeLayer({ bottom: '1' }) };
const OLD = makeImage({ layers: [bottom] });
const NEW = makeImage({ layers: [bottom, { tar: makeLayer({ top: '2' }) }] });

let pair: Pair;
before(async () => {
  pair = await startPair({}, (registry) => {
    for (const repository of ['team/app', 'my_app', 'tags/app']) {
      registry.push(repository, '1', OLD);
      registry.push(repository, '2', NEW);
      registry.push(repository, '2_1', NEW);
    }
  });
});
after(() => pair[Symbol.asyncDispose]());

describe('the answer is', () => {
  const table: readonly [accept: string | undefined, type: string][] = [
    [BROWSER, HTML],
    ['text/html', HTML],
    ['TEXT/HTML;q=0.1', HTML],
    ['text/html;level=1, text/plain;q=0.5', HTML],
    [undefined, TEXT],
    ['*/*', TEXT],
    ['text/*', TEXT],
    ['application/xhtml+xml', TEXT],
    ['text/html;q=0', TEXT],
    ['text/html;q=0.4, text/plain', TEXT],
  ];
  for (const [accept, type] of table) {
    test(`${type} for ${accept}`, async () => {
      const headers = accept === undefined ? {} : { accept };
      for (const method of ['GET', 'HEAD']) {
        const reply = await pair.request('/', { method, headers });
        assert.equal(reply.status, 200);
        assert.equal(reply.headers['content-type'], type);
        assert.equal(reply.headers.vary, 'Accept, Accept-Encoding');
      }
    });
  }

  test('never chosen by the name of the program', async () => {
    const headers = { accept: '*/*', 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0' };
    assert.equal((await pair.request('/', { headers })).headers['content-type'], TEXT);
  });
});

describe('the page', () => {
  const plain = async () => (await pair.request('/', { headers: { accept: BROWSER } })).body.toString();
  const encodings: readonly [
    accepted: string,
    encoding: string | undefined,
    decode: (body: Buffer) => Buffer,
  ][] = [
    ['gzip, deflate, br, zstd', 'br', brotliDecompressSync],
    ['gzip, deflate', 'gzip', gunzipSync],
    ['br;q=0, gzip;q=0.1', 'gzip', gunzipSync],
    ['br;q=0.1, gzip', 'gzip', gunzipSync],
    ['br;q=0.5, x-gzip;q=0.6, identity;q=0.2', 'gzip', gunzipSync],
    ['br;q=0.5, gzip;q=0.5', 'br', brotliDecompressSync],
    ['br;q=0.5, gzip;q=0.6, identity;q=0.7', undefined, (body) => body],
    ['identity', undefined, (body) => body],
    ['deflate, *', undefined, (body) => body],
  ];
  for (const [accepted, encoding, decode] of encodings) {
    test(`comes as ${encoding ?? 'it is'} for ${accepted}, with an entity tag of its own`, async () => {
      const headers = { accept: BROWSER, 'accept-encoding': accepted };
      const reply = await pair.request('/', { headers });
      assert.equal(reply.headers['content-encoding'], encoding);
      assert.equal(reply.headers['content-length'], String(reply.body.length));
      assert.equal(decode(reply.body).toString(), await plain());

      const head = await pair.request('/', { method: 'HEAD', headers });
      const { date: _, 'x-request-id': __, ...expected } = reply.headers;
      const { date: ___, 'x-request-id': ____, ...found } = head.headers;
      assert.deepEqual([head.body.length, found], [0, expected]);

      const etag = String(reply.headers.etag);
      const known = await pair.request('/', { headers: { ...headers, 'if-none-match': `"x", W/${etag}` } });
      assert.deepEqual([known.status, known.body.length, known.headers.etag], [304, 0, etag]);
      const other = await pair.request('/', {
        headers: { accept: BROWSER, 'accept-encoding': 'x', 'if-none-match': etag },
      });
      assert.equal(other.status, encoding === undefined ? 304 : 200);
    });
  }

  test('may run its own code only, in no frame, and tells no other site where it is', async () => {
    for (const path of ['/', '/?image=nginx']) {
      const { headers } = await pair.request(path, { headers: { accept: BROWSER } });
      assert.match(
        String(headers['content-security-policy']),
        /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+';/,
      );
      assert.match(String(headers['content-security-policy']), /frame-ancestors 'none'/);
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['referrer-policy'], 'no-referrer');
      assert.equal(headers['x-frame-options'], 'DENY');
    }
  });

  test('has the commands for a form that a browser without scripts has sent', async () => {
    const headers = { accept: BROWSER, host: 'images.example:8080', 'if-none-match': '*' };
    const reply = await pair.request('/?image=nginx%3A1&layout=oci&platform=&since=&scheme=https', {
      headers,
    });
    assert.deepEqual([reply.status, reply.headers['cache-control']], [200, 'no-store']);
    assert.match(reply.body.toString(), />http:\/\/images\.example:8080\/oci\/nginx_1\.tar</);
  });

  describe('has commands with the scheme by which the client came', () => {
    const QUERY = '/?image=nginx%3A1&layout=docker';
    const schemeOf = (reply: Reply) =>
      />(\w+):\/\/localhost\/docker\/nginx_1\.tar</.exec(reply.body.toString())?.[1];
    const headers = { accept: BROWSER, host: 'localhost' };
    const table: readonly [header: Readonly<Record<string, string>>, proxies: string, scheme: string][] = [
      [{ 'x-forwarded-proto': 'https' }, '127.0.0.1', 'https'],
      [{ forwarded: 'for=192.0.2.1;proto=https' }, '127.0.0.1', 'https'],
      [{ 'x-forwarded-proto': 'javascript' }, '127.0.0.1', 'http'],
      [{}, '127.0.0.1', 'http'],
      [{ 'x-forwarded-proto': 'https' }, '192.0.2.1', 'http'],
    ];
    for (const [header, proxies, scheme] of table) {
      test(`${scheme} for ${JSON.stringify(header)} and TRUSTED_PROXIES=${proxies}`, async () => {
        await using service = await startTestService({ TRUSTED_PROXIES: proxies });
        const reply = await service.request(QUERY, { headers: { ...headers, ...header } });
        assert.equal(schemeOf(reply), scheme);
      });
    }

    test('https on the port of https', async () => {
      const authority = await makeAuthority();
      const { files } = await writeTls(await authority.issue());
      await using service = await startTestService({
        HTTPS_PORT: '0',
        TLS_CERT_FILE: files.certificate,
        TLS_KEY_FILE: files.key,
      });
      const reply = await request(service.httpsPort, QUERY, { headers, tls: { ca: authority.cert } });
      assert.equal(schemeOf(reply), 'https');
    });
  });

  test('refuses a field that the form does not have', async () => {
    const reply = await pair.request('/?imgae=nginx', { headers: { accept: BROWSER } });
    assert.match(reply.body.toString(), /^Unknown parameter: .*did you mean image\?/);
  });

  test('sends no request to the registry', async () => {
    await using other = await startPair({}, () => undefined);
    for (const path of ['/', '/?image=team/app:1'])
      await other.request(path, { headers: { accept: BROWSER } });
    assert.deepEqual(other.registry.requests, []);
  });
});

describe('the service serves what the page builds, under the name that the page says', () => {
  const table: readonly Partial<Choice>[] = [
    { image: 'team/app:2' },
    { image: 'team/app:2', format: 'tgz' },
    { image: 'team/app:2', layout: 'oci', platform: 'all' },
    { image: 'team/app:2', since: '1' },
    { image: 'team/app:2', since: 'my_app:1', format: 'tgz' },
    { image: 'team/app:2', since: OLD.manifest.digest },
    { image: 'team/app:2', layout: 'iox', platform: 'c8000v' },
    { image: 'team/app:2', layout: 'iox', profile: 'c1.medium', since: '1', start: 'early' },
    { image: 'team/app:2', layout: 'iox', profile: 'custom', cpu: '1000' },
    { image: 'my_app:2_1', layout: 'iox', profile: 'custom' },
    { image: 'tags/app:1' },
    { image: `team/app@${NEW.manifest.digest}` },
    { image: 'my_app:2_1', layout: 'docker-gzip' },
    { image: 'my_app:2', since: '1', format: 'tgz' },
    { image: `team/app:2@${NEW.manifest.digest}` },
    { image: '{host}/team/app:2', scheme: 'http' },
  ];
  for (const choice of table) {
    test(JSON.stringify(choice).slice(0, 90), async () => {
      const image = (choice.image ?? '').replace('{host}', pair.registry.host);
      const { target, faults } = targetOf({ ...NO_CHOICE, ...choice, image });
      assert.ok(target, JSON.stringify(faults));
      const reply = await pair.request(target.path + target.query);
      assert.equal(reply.status, 200, reply.body.toString('utf8', 0, 200));
      assert.match(
        reply.headers['content-disposition'] ?? '',
        new RegExp(`filename="${RegExp.escape(target.filename)}"`),
      );
      if (!target.hasChecksums) return;
      const sum = await pair.request(`${target.path}.sha256${target.query}`);
      assert.equal(sum.body.toString().replace(/^[0-9a-f]{64} [ *]/, ''), `${target.filename}\n`);
    });
  }
});
