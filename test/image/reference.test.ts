import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDigest } from '../../src/image/digest.ts';
import {
  formatReference,
  type Reference,
  repositoryFault,
  repoTag,
  tagFault,
} from '../../src/image/reference.ts';

const DIGEST = parseDigest(`sha256:${'0123456789abcdef'.repeat(4)}`);

describe('a repository name', () => {
  const good = [
    'a',
    '0',
    'nginx',
    'library/nginx',
    'a/b/c/d/e',
    'my.app',
    'my_app',
    'my__app',
    'my-app',
    'my---app',
    '1.2.3',
    'a.b_c__d-e',
    'a'.repeat(255),
    `${'a/'.repeat(127)}a`,
  ];
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

  test('that is hostile is judged in no time', () => {
    const begun = performance.now();
    assert.notEqual(repositoryFault(`${'a'.repeat(253)}_!`), undefined);
    assert.notEqual(repositoryFault(`${'a-'.repeat(126)}-`), undefined);
    assert.ok(performance.now() - begun < 1000);
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
  const table: readonly [what: string, reference: Reference, inFull: string, shown: string][] = [
    [
      "of Docker Hub's library",
      { registryName: 'docker.io', repository: 'library/nginx', tag: 'latest' },
      'docker.io/library/nginx:latest',
      'nginx:latest',
    ],
    [
      'of an organisation on Docker Hub',
      { registryName: 'docker.io', repository: 'org/app', tag: '1' },
      'docker.io/org/app:1',
      'org/app:1',
    ],
    [
      "below Docker Hub's library",
      { registryName: 'docker.io', repository: 'library/a/b', tag: '1' },
      'docker.io/library/a/b:1',
      'library/a/b:1',
    ],
    [
      'of another registry',
      { registryName: 'ghcr.io', repository: 'org/app', tag: '1.2' },
      'ghcr.io/org/app:1.2',
      'ghcr.io/org/app:1.2',
    ],
    [
      'of another registry with a library of its own',
      { registryName: '10.0.0.5:5000', repository: 'library/nginx', tag: '1' },
      '10.0.0.5:5000/library/nginx:1',
      '10.0.0.5:5000/library/nginx:1',
    ],
    [
      'with neither tag nor digest',
      { registryName: 'docker.io', repository: 'library/nginx' },
      'docker.io/library/nginx',
      'nginx:latest',
    ],
    [
      'by digest',
      { registryName: 'docker.io', repository: 'library/alpine', digest: DIGEST },
      `docker.io/library/alpine@${DIGEST}`,
      'alpine:0123456789ab',
    ],
    [
      'by digest, of another registry',
      { registryName: 'ghcr.io', repository: 'org/app', digest: DIGEST },
      `ghcr.io/org/app@${DIGEST}`,
      'ghcr.io/org/app:0123456789ab',
    ],
    [
      'by tag and digest',
      { registryName: 'ghcr.io', repository: 'org/app', tag: '1', digest: DIGEST },
      `ghcr.io/org/app:1@${DIGEST}`,
      'ghcr.io/org/app:1',
    ],
  ];
  for (const [what, reference, inFull, shown] of table) {
    test(`${what} is written ${inFull}, and shown as ${shown} once it is loaded`, () => {
      assert.equal(formatReference(reference), inFull);
      const { name, tag } = repoTag(reference);
      assert.equal(`${name}:${tag}`, shown);
      assert.equal(tagFault(tag), undefined);
    });
  }
});
