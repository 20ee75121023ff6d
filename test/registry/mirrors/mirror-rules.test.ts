import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPassthroughError } from '../../../src/errors.ts';
import {
  formatMirrorRules,
  MAX_MIRRORS,
  mirrorsOf,
  namespaceOf,
  parseMirrorRules,
  repositoryAt,
} from '../../../src/registry/mirrors/mirror-rules.ts';
import { DOCKER_HUB, registryHost } from '../../../src/registry/registry-host.ts';
import { chanceOf } from '../../support/seeded.ts';

describe('rules are read', () => {
  const rows: readonly [text: string, canonical: string][] = [
    ['', ''],
    [' , ', ''],
    ['ghcr.io=https://m', 'ghcr.io=https://m'],
    ['docker.io=https://m', 'registry-1.docker.io=https://m'],
    [
      'docker.io=https://mirror-1|https://mirror-2/prefix, *=http://cache:5000',
      'registry-1.docker.io=https://mirror-1|https://mirror-2/prefix,*=http://cache:5000',
    ],
    [
      'GHCR.io = HTTPS://M.Example:443/a/b/ | http://[::1]:5000',
      'ghcr.io=https://m.example/a/b|http://[::1]:5000',
    ],
    ['*.example.com=http://m,http://lab:5000=http://n', '*.example.com=http://m,http://lab:5000=http://n'],
    // An exemption from the rule of all others.
    ['ghcr.io=,*=http://m', 'ghcr.io=,*=http://m'],
    // As hosts.toml of containerd has it, with override_path.
    ['ghcr.io=https://m/v2/proxy', 'ghcr.io=https://m/proxy'],
    ['ghcr.io=https://m/v2', 'ghcr.io=https://m'],
    ['ghcr.io=https://m/v2/', 'ghcr.io=https://m'],
    ['ghcr.io=https://m/v2x/y', 'ghcr.io=https://m/v2x/y'],
  ];
  for (const [text, canonical] of rows) {
    test(text, () => {
      const rules = parseMirrorRules(text);
      assert.equal(formatMirrorRules(rules), canonical);
      assert.deepEqual(parseMirrorRules(canonical), rules);
    });
  }
});

describe('a rule is refused', () => {
  const many = Array.from({ length: MAX_MIRRORS + 1 }, (_, index) => `http://m${index}`).join('|');
  const rows: readonly [text: string, why: RegExp][] = [
    ['https://m', /expected REGISTRY=MIRROR/],
    ['ghcr.io', /expected REGISTRY=MIRROR/],
    ['=https://m', /it is empty/],
    ['ghcr.io=m', /expected http:\/\/ or https:\/\//],
    ['ghcr.io=ftp://m', /expected http:\/\/ or https:\/\//],
    ['ghcr.io=https://', /it is empty/],
    ['ghcr.io=https://m?ns=x', /expected http:\/\/ or https:\/\//],
    ['ghcr.io=https://m/a#b', /expected http:\/\/ or https:\/\//],
    ['ghcr.io=https://u:p@m', /credentials do not belong/],
    ['ghcr.io=https://m/A', /is not lower case/],
    ['ghcr.io=https://m/a//b', /empty component/],
    ['ghcr.io=https://m/../b', /must be a-z and 0-9/],
    ['ghcr.io=https://m/%2e', /must be a-z and 0-9/],
    ['ghcr.io=https://m:0', /the port must be/],
    ['ghcr.io=https://m||https://n', /expected http:\/\/ or https:\/\//],
    ['ghcr.io=https://m|https://M/', /twice/],
    ['ghcr.io=http://m,ghcr.io=http://n', /two rules/],
    ['docker.io=http://m,index.docker.io=http://n', /two rules/],
    ['*=http://m,*=http://n', /two rules/],
    ['a b=http://m', /expected a DNS name/],
    [`ghcr.io=${many}`, /more than 8 mirrors/],
  ];
  for (const [text, why] of rows) {
    test(text.slice(0, 60), () => {
      assert.throws(
        () => parseMirrorRules(text),
        (error) => isPassthroughError(error) && why.test(error.message) && !error.message.includes('u:p'),
      );
    });
  }
});

test('any text is read, or refused by a reason, and what is read is written and read again alike', () => {
  const chance = chanceOf(7);
  const pieces = [
    'docker.io',
    'ghcr.io',
    '*',
    '*.a.b',
    '=',
    '|',
    ',',
    ' ',
    'https://',
    'http://',
    'm',
    'n:5000',
    '/p',
    '/',
    '[::1]',
    '@',
    '?',
    '..',
    'É',
    '\0',
  ];
  let read = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const length = 1 + chance.below(9);
    const text = Array.from({ length }, () => chance.pick(pieces)).join('');
    try {
      const rules = parseMirrorRules(text);
      assert.deepEqual(parseMirrorRules(formatMirrorRules(rules)), rules, text);
      if (rules.length > 0) read += 1;
    } catch (error) {
      assert.ok(isPassthroughError(error, 'INVALID_CONFIGURATION', 'INVALID_REGISTRY'), text);
    }
  }
  assert.ok(read > 50, `${read} texts with a rule`);
});

describe('the mirrors of a registry', () => {
  const rules = parseMirrorRules(
    'docker.io=https://hub-1|https://hub-2/p,*.example.com=http://wild,a.example.com:5000=http://own,ghcr.io=,*=http://cache:5000',
  );
  const rows: readonly [host: string, urls: readonly string[]][] = [
    ['docker.io', ['https://hub-1', 'https://hub-2/p']],
    ['registry-1.docker.io', ['https://hub-1', 'https://hub-2/p']],
    ['b.example.com', ['http://wild']],
    // The first rule that names it.
    ['a.example.com:5000', ['http://wild']],
    ['example.com', ['http://cache:5000']],
    ['ghcr.io', []],
    ['quay.io', ['http://cache:5000']],
    ['cache', ['http://cache:5000']],
  ];
  for (const [host, urls] of rows) {
    test(host, () => {
      assert.deepEqual(
        mirrorsOf(rules, registryHost('https', host)).map(({ url }) => url),
        urls,
      );
    });
  }

  test('do not have the registry itself among them, but a project of it', () => {
    const own = parseMirrorRules('*=http://cache:5000|http://cache:5000/hub');
    assert.deepEqual(
      mirrorsOf(own, registryHost('http', 'cache:5000')).map(({ url }) => url),
      ['http://cache:5000/hub'],
    );
  });

  test('are asked for the repository below their prefix, and for the host of references', () => {
    const [plain, prefixed] = mirrorsOf(rules, DOCKER_HUB);
    assert.ok(plain !== undefined && prefixed !== undefined);
    assert.equal(repositoryAt(plain, 'library/nginx'), 'library/nginx');
    assert.equal(repositoryAt(prefixed, 'library/nginx'), 'p/library/nginx');
    assert.equal(namespaceOf(DOCKER_HUB), 'docker.io');
    assert.equal(namespaceOf(registryHost('http', 'lab:5000')), 'lab:5000');
  });
});
