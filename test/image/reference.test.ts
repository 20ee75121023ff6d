import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  formatReference,
  type NamedReference,
  parseReference,
  type Reference,
  repositoryFault,
  repoTag,
  tagFault,
} from '../../src/image/reference.ts';
import { quoted } from '../../src/util/printable.ts';
import { parseDigest } from '../support/digest.ts';

const DIGEST = parseDigest(`sha256:${'0123456789abcdef'.repeat(4)}`);

describe('a repository name', () => {
  const short = 'a 0 nginx library/nginx a/b/c/d/e my.app my_app my__app my-app my---app 1.2.3 a.b_c__d-e';
  const good = [...short.split(' '), 'a'.repeat(255), `${'a/'.repeat(127)}a`];
  for (const name of good) {
    test(`may be ${name.length > 20 ? `${name.slice(0, 4)}… of ${name.length} characters` : name}`, () => {
      assert.equal(repositoryFault(name), undefined);
    });
  }

  const grammar = (component: string) =>
    `repository component ${JSON.stringify(component)} must be a-z and 0-9, joined by ".", "_", "__" or "-"`;
  const bad: readonly [name: string, fault: string][] = [
    ['', 'repository is empty'],
    ['a'.repeat(256), 'repository is longer than 255 characters'],
    ['/a', 'repository has an empty component'],
    ['a/', 'repository has an empty component'],
    ['a//b', 'repository has an empty component'],
    ['Team/app', 'repository component "Team" is not lower case'],
    ['team/aPp', 'repository component "aPp" is not lower case'],
    ['-a', grammar('-a')],
    ['a-', grammar('a-')],
    ['.a', grammar('.a')],
    ['a.', grammar('a.')],
    ['_a', grammar('_a')],
    ['a_', grammar('a_')],
    ['a..b', grammar('a..b')],
    ['a___b', grammar('a___b')],
    ['a._b', grammar('a._b')],
    ['a/..', grammar('..')],
    ['a b', grammar('a b')],
    ['a:b', grammar('a:b')],
    ['a@b', grammar('a@b')],
    ['a%2fb', grammar('a%2fb')],
    ['a\n', grammar('a\n')],
    ['é', grammar('é')],
  ];
  for (const [name, fault] of bad) {
    test(`${JSON.stringify(name.slice(0, 20))} is refused: ${fault}`, () => {
      assert.equal(repositoryFault(name), fault);
    });
  }

  test('of hostile form is checked in linear time', () => {
    // Time of the processor, which other processes do not lengthen. An exponential check would take years.
    const begun = process.cpuUsage();
    assert.notEqual(repositoryFault(`${'a'.repeat(253)}_!`), undefined);
    assert.notEqual(repositoryFault(`${'a-'.repeat(126)}-`), undefined);
    assert.ok(process.cpuUsage(begun).user < 5_000_000);
  });
});

describe('a tag', () => {
  for (const tag of ['latest', '1', 'V1.0', '_x', 'a-b.c_d', '1.0--rc', 't'.repeat(128)]) {
    test(`may be ${tag.length > 20 ? `as long as ${tag.length} characters` : tag}`, () => {
      assert.equal(tagFault(tag), undefined);
    });
  }

  test('that is empty or too long is refused', () => {
    assert.equal(tagFault(''), 'tag is empty');
    assert.equal(tagFault('t'.repeat(129)), 'tag is longer than 128 characters');
  });

  for (const tag of ['.1', '-1', 'a b', 'a/b', 'a:b', 'a@b', 'a+b', 'é', 'latest\n']) {
    test(`${JSON.stringify(tag)} is refused`, () => {
      assert.equal(
        tagFault(tag),
        `tag ${JSON.stringify(tag)} must be letters, digits, "_", "." and "-", and start with neither "." nor "-"`,
      );
    });
  }
});

describe('a reference', () => {
  const hub = { registryName: 'docker.io' };
  const ghcr = { registryName: 'ghcr.io', repository: 'org/app' };
  const own = { registryName: '10.0.0.5:5000', repository: 'library/nginx' };
  const table: readonly [reference: Reference, full: string, shown: string][] = [
    [
      { ...hub, repository: 'library/nginx', tag: 'latest' },
      'docker.io/library/nginx:latest',
      'nginx:latest',
    ],
    [{ ...hub, repository: 'org/app', tag: '1' }, 'docker.io/org/app:1', 'org/app:1'],
    [{ ...hub, repository: 'library/a/b', tag: '1' }, 'docker.io/library/a/b:1', 'library/a/b:1'],
    [{ ...ghcr, tag: '1.2' }, 'ghcr.io/org/app:1.2', 'ghcr.io/org/app:1.2'],
    [{ ...own, tag: '1' }, '10.0.0.5:5000/library/nginx:1', '10.0.0.5:5000/library/nginx:1'],
    [{ ...hub, repository: 'library/nginx' }, 'docker.io/library/nginx', 'nginx:latest'],
    [
      { ...hub, repository: 'library/alpine', digest: DIGEST },
      `docker.io/library/alpine@${DIGEST}`,
      'alpine:0123456789ab',
    ],
    [{ ...ghcr, digest: DIGEST }, `ghcr.io/org/app@${DIGEST}`, 'ghcr.io/org/app:0123456789ab'],
    [{ ...ghcr, tag: '1', digest: DIGEST }, `ghcr.io/org/app:1@${DIGEST}`, 'ghcr.io/org/app:1'],
  ];
  for (const [reference, full, shown] of table) {
    test(`${full.replace(DIGEST, 'sha256:…')} is loaded as ${shown}`, () => {
      assert.equal(formatReference(reference), full);
      const { name, tag } = repoTag(reference);
      assert.equal(`${name}:${tag}`, shown);
      assert.equal(tagFault(tag), undefined);
    });
  }
});

describe('parseReference', () => {
  const HEX = DIGEST.slice('sha256:'.length);
  const DIGEST_512 = parseDigest(`sha512:${HEX}${HEX}`);
  const table: Readonly<Record<string, Partial<NamedReference>>> = {
    alpine: { repository: 'alpine', tag: 'latest' },
    'alpine:latest': { repository: 'alpine', tag: 'latest' },
    'alpine:3_rc.1-x': { repository: 'alpine', tag: '3_rc.1-x' },
    'library/alpine:latest': { repository: 'library/alpine', tag: 'latest' },
    'org/app': { repository: 'org/app', tag: 'latest' },
    'a/b/c/d:1': { repository: 'a/b/c/d', tag: '1' },
    'ghcr.io/org/app:1.2': { host: 'ghcr.io', repository: 'org/app', tag: '1.2' },
    'docker.io/alpine': { host: 'docker.io', repository: 'alpine', tag: 'latest' },
    'index.docker.io/alpine:1': { host: 'index.docker.io', repository: 'alpine', tag: '1' },
    'localhost/app': { host: 'localhost', repository: 'app', tag: 'latest' },
    'localhost:5000/app:1': { host: 'localhost:5000', repository: 'app', tag: '1' },
    'registry:5000/team/app': { host: 'registry:5000', repository: 'team/app', tag: 'latest' },
    '10.0.0.5/app:1': { host: '10.0.0.5', repository: 'app', tag: '1' },
    '[2001:db8::1]:5000/app': { host: '[2001:db8::1]:5000', repository: 'app', tag: 'latest' },
    '[::1]/app:1': { host: '[::1]', repository: 'app', tag: '1' },
    'Team/app:1': { host: 'Team', repository: 'app', tag: '1' },
    // Without a slash there is no host, so a colon starts a tag.
    localhost: { repository: 'localhost', tag: 'latest' },
    'localhost:5000': { repository: 'localhost', tag: '5000' },
    'example.com': { repository: 'example.com', tag: 'latest' },
    // A component with a dot is a host only before the first slash.
    'org/my.app:1': { repository: 'org/my.app', tag: '1' },
    'localhosts/app:1': { repository: 'localhosts/app', tag: '1' },
    [`alpine@${DIGEST}`]: { repository: 'alpine', digest: DIGEST },
    [`alpine@${DIGEST_512}`]: { repository: 'alpine', digest: DIGEST_512 },
    [`localhost:5000/app@${DIGEST}`]: { host: 'localhost:5000', repository: 'app', digest: DIGEST },
    [`org/app:1@${DIGEST}`]: { repository: 'org/app', tag: '1', digest: DIGEST },
    // Docker refuses the ID of an image alone.
    [`${HEX}:1`]: { repository: HEX, tag: '1' },
    [`library/${HEX}`]: { repository: `library/${HEX}`, tag: 'latest' },
  };
  for (const [text, expected] of Object.entries(table)) {
    test(`reads ${text.replaceAll(HEX, '…')}`, () => {
      const nothing = { host: undefined, tag: undefined, digest: undefined };
      assert.deepEqual(parseReference(text), { ...nothing, ...expected });
    });
  }

  const tag = 'must be letters, digits, "_", "." and "-", and start with neither "." nor "-"';
  const hostRule = 'is not a name or address with an optional port';
  const digestRule = 'must be sha256 or sha512 and lower-case hex';
  /** Texts by the reason. */
  const refused: Readonly<Record<string, readonly string[]>> = {
    'repository is empty': ['', ':1', 'ghcr.io/'],
    'tag is empty': ['x:', `alpine:@${DIGEST}`],
    'repository has an empty component': ['ghcr.io//app', '/app', 'app/'],
    'repository component "App" is not lower case': ['org/App:1'],
    'repository component "Alpine" is not lower case': ['Alpine'],
    [`tag "b:c" ${tag}`]: ['a:b:c'],
    [`tag "-1" ${tag}`]: ['alpine:-1'],
    [`tag "1 " ${tag}`]: ['alpine:1 '],
    'tag is longer than 128 characters': [`alpine:${'t'.repeat(129)}`],
    'repository is longer than 255 characters': [`a/${'b'.repeat(254)}`],
    '64 hex digits are the ID of an image, not the name of one': [HEX],
    'it begins with a scheme, and is no URL': ['https://ghcr.io/org/app', 'docker://alpine'],
    ...Object.fromEntries(
      ['', 'latest', 'sha256:abc', `${DIGEST}@${DIGEST}`].map((digest) => [
        `digest "${digest}" ${digestRule}`,
        [`alpine@${digest}`],
      ]),
    ),
    ...Object.fromEntries(
      ['ghcr.io:', 'ghcr.io:x', '::1', '[::1', '..', 'ghcr.io\n', 'alpine:a'].map((host) => [
        `host ${JSON.stringify(host)} ${hostRule}`,
        [`${host}/app`],
      ]),
    ),
  };
  const rows = Object.entries(refused).flatMap(([why, texts]) => texts.map((text) => [text, why] as const));
  for (const [text, why] of rows) {
    test(`refuses ${JSON.stringify(text.slice(0, 30))}: ${why.slice(0, 60)}`, () => {
      assert.throws(() => parseReference(text), {
        name: 'PassthroughError',
        code: 'INVALID_REFERENCE',
        message: `Cannot parse reference ${quoted(text)}: ${why}`,
      });
    });
  }

  test('does not show a text that may contain a password', () => {
    for (const text of ['me:secret@ghcr.io/org/app', 'https://me:secret@ghcr.io/org/app:1']) {
      assert.throws(() => parseReference(text), {
        code: 'INVALID_REFERENCE',
        message: 'Cannot parse reference: credentials do not belong in it',
      });
    }
  });

  test('is the inverse of formatReference', () => {
    const names = ['docker.io', 'ghcr.io', 'localhost', '10.0.0.5:5000', '[2001:db8::1]:5000', 'r:1'];
    const hosts = fc.constantFrom(...names);
    const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:[.-][a-z0-9]{1,8})?$/);
    const repositories = fc
      .array(component, { minLength: 1, maxLength: 4 })
      .map((components) => components.join('/'));
    const tags = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,12}$/);
    const digests = fc.constantFrom(undefined, DIGEST, DIGEST_512);
    fc.assert(
      fc.property(hosts, repositories, tags, digests, (registryName, repository, tag, digest) => {
        const reference = { registryName, repository, tag, ...(digest !== undefined && { digest }) };
        const named = { host: registryName, repository, tag, digest };
        assert.deepEqual(parseReference(formatReference(reference)), named);
      }),
    );
  });
});
