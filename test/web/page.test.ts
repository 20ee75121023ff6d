import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { FIELDS } from '../../src/web/choice.ts';
import { loadPage } from '../../src/web/page.ts';

/** Largest page, in bytes, before it is compressed. */
const MAX_BYTES = 60 * 1024;

const page = await loadPage();
const html = page.bodies.identity.toString();

/** The inline scripts and styles, as a browser finds them. */
const inline = (text: string, tag: string) =>
  Array.from(text.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs')), ([, code = '']) => code);

/** The markup without scripts and styles. */
const markup = (text: string) => text.replace(/<(script|style)>.*?<\/\1>/gs, '');

describe('the page', () => {
  test(`has at most ${MAX_BYTES} bytes`, () => {
    const { length } = page.bodies.identity;
    assert.ok(length > 10_000 && length <= MAX_BYTES, `${length} bytes`);
  });

  test('is the same in all encodings', () => {
    assert.equal(gunzipSync(page.bodies.gzip).toString(), html);
    assert.equal(brotliDecompressSync(page.bodies.br).toString(), html);
  });

  test('asks for nothing from anywhere', () => {
    for (const [, target = ''] of markup(html).matchAll(/\s(?:src|href|action)="([^"]*)"/g)) {
      assert.match(target, /^(?:#|\/$|data:image\/svg\+xml,)/);
    }
    assert.doesNotMatch(inline(html, 'style').join(), /url\(|@import/);
  });

  test('has the policy of its very script and style, and no other code', () => {
    for (const tag of ['script', 'style']) {
      const found = inline(html, tag);
      assert.equal(found.length, 1, tag);
      const hash = createHash('sha256')
        .update(found[0] ?? '')
        .digest('base64');
      assert.ok(page.policy.includes(`${tag}-src 'sha256-${hash}';`), page.policy);
    }
    assert.doesNotMatch(markup(html), /<[^>]+\s(?:style|on[a-z]+)=/i);
    assert.match(
      page.policy,
      /^default-src 'none'; .*base-uri 'none'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'$/,
    );
    assert.doesNotMatch(page.policy, /unsafe|\*/);
  });

  test('has a control and a label for each field but the address of the service', () => {
    for (const name of FIELDS.filter((field) => field !== 'service')) {
      const controls = [
        ...markup(html).matchAll(new RegExp(`<(?:input|select)[^>]*\\sname="${name}"[^>]*>`, 'g')),
      ];
      assert.ok(controls.length > 0, name);
      for (const [control] of controls) {
        const [, id] = /\sid="([^"]+)"/.exec(control) ?? [];
        assert.ok(html.includes(`<label for="${id}">`), control);
      }
    }
  });

  test('has each id once', () => {
    const ids = Array.from(markup(html).matchAll(/\sid="([^"]+)"/g), ([, id]) => id);
    assert.deepEqual(ids, [...new Set(ids)]);
  });
});

describe('the page for a browser without scripts', () => {
  const ORIGIN = 'http://service.example:8080';

  test('has the commands, and the form as it was sent', () => {
    const text = page.render('image=nginx%3A1.25&platform=ir1101&layout=docker&format=tgz', ORIGIN);
    assert.ok(
      text.includes(`curl --fail -C - -o nginx_1.25.tgz ${ORIGIN}/platform/ir1101/docker/nginx_1.25.tgz`),
    );
    assert.match(text, /<input[^>]* value="nginx:1.25"/);
    assert.match(text, /<option value="ir1101" selected>/);
    assert.match(text, /<input[^>]* value="tgz"[^>]* checked/);
    assert.deepEqual(inline(text, 'script'), inline(html, 'script'));
  });

  test('has the fault at its field', () => {
    const text = page.render('image=Nginx', ORIGIN);
    assert.match(
      text,
      /<p class="fault" id="field-image-fault">Repository component &quot;Nginx&quot; is not lower case<\/p>/,
    );
    assert.match(text, /aria-describedby="field-image-hint field-image-fault" aria-invalid="true"/);
  });

  const faults: readonly [name: string, value: string, fault: RegExp][] = [
    ['image', 'user:secret@ghcr.io/app', /^Credentials do not belong here/],
    ['image', 'nginx\u0001', /^Repository component &quot;nginx\\u0001&quot;/],
    ['image', 'a\u202Eb', /^Repository component &quot;a\\u202eb&quot;/],
    ['image', 'a'.repeat(2000), /./],
    ['since', 'user:secret@x', /^Credentials do not belong here/],
    ['platform', 'linux\n/amd64', /^Unknown operating system &quot;linux\\n&quot;/],
    ['platform', 'user:secret@linux/amd64', /^Credentials do not belong here/],
  ];
  for (const [name, value, fault] of faults) {
    test(`has the fault of ${JSON.stringify(value.slice(0, 30))} at ${name}, and not the text`, () => {
      const query = new URLSearchParams({ image: 'nginx', [name]: value });
      const text = page.render(query.toString(), ORIGIN);
      const found = new RegExp(`<p class="fault" id="field-${name}-fault">([^<]+)</p>`).exec(text)?.[1] ?? '';
      assert.match(found, fault);
      assert.ok(!markup(text).includes(`value="${value}"`));
      assert.doesNotMatch(text, /docker\/nginx_latest\.tar/);
    });
  }

  const hostile = [
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    'javascript:alert(1)',
    'a\u202Eb',
    '</textarea></style>',
    'user:secret@host/app',
  ];
  for (const value of hostile) {
    test(`writes no markup of ${JSON.stringify(value)}`, () => {
      for (const name of FIELDS) {
        const query = new URLSearchParams({ image: 'nginx', [name]: value });
        const text = page.render(query.toString(), ORIGIN);
        assert.equal(inline(text, 'script').length, 1);
        assert.doesNotMatch(markup(text), /<script|<img|href="javascript|secret|\u202E/);
      }
    });
  }
});
