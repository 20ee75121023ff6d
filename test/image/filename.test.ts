import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Checksum, type Compression, formatFilename, parseFilename } from '../../src/image/filename.ts';
import { repositoryFault, tagFault } from '../../src/image/reference.ts';
import { quoted } from '../../src/util/printable.ts';
import { parseDigest } from '../support/digest.ts';

const HEX = '0123456789abcdef'.repeat(4);
const SHA256 = parseDigest(`sha256:${HEX}`);
const SHA512 = parseDigest(`sha512:${HEX}${HEX}`);

describe('a filename is read', () => {
  const table: readonly [filename: string, onDockerHub: string, elsewhere: string][] = [
    ['nginx_latest.tar', 'library/nginx:latest', 'nginx:latest'],
    ['nginx_1.25.tar', 'library/nginx:1.25', 'nginx:1.25'],
    ['library_nginx_latest.tar', 'library/nginx:latest', 'library/nginx:latest'],
    ['library__nginx_latest.tar', 'library/nginx:latest', 'library/nginx:latest'],
    ['myrepo_myimage_v1.0.tar', 'myrepo/myimage:v1.0', 'myrepo/myimage:v1.0'],
    ['team__platform__api_2026.06.tar', 'team/platform/api:2026.06', 'team/platform/api:2026.06'],
    [
      'cisco-open__docker-http-passthrough_latest.tar',
      'cisco-open/docker-http-passthrough:latest',
      'cisco-open/docker-http-passthrough:latest',
    ],
    // With a double underscore in the path, single ones stay.
    ['team__my_app_1.tar', 'team/my_app:1', 'team/my_app:1'],
    ['my_team__app_1.tar', 'my_team/app:1', 'my_team/app:1'],
    // Several single underscores stay too: any of them could be the slash.
    ['a_b_c_1.tar', 'library/a_b_c:1', 'a_b_c:1'],
    ['my.app-x_1.tar', 'library/my.app-x:1', 'my.app-x:1'],
    // The last underscore always separates the tag.
    ['nginx_1.tar_latest.tar', 'nginx/1.tar:latest', 'nginx/1.tar:latest'],
    ['nginx_Latest-RC.1.tar', 'library/nginx:Latest-RC.1', 'nginx:Latest-RC.1'],
    ['nginx_1.tar.tar', 'library/nginx:1.tar', 'nginx:1.tar'],
  ];
  for (const [filename, onDockerHub, elsewhere] of table) {
    test(`${filename} as ${onDockerHub} on Docker Hub, ${elsewhere} elsewhere`, () => {
      const read = (namespace: string) => {
        const { repository, tag } = parseFilename(filename, namespace);
        return `${repository}:${tag}`;
      };
      assert.equal(read('library'), onDockerHub);
      assert.equal(read(''), elsewhere);
    });
  }

  test('with a default namespace of several components', () => {
    assert.equal(parseFilename('nginx_1.tar', 'team/base').repository, 'team/base/nginx');
  });
});

describe('the ending of a filename is read', () => {
  const table: readonly [
    filename: string,
    version: string,
    compression: Compression,
    checksum: Checksum | undefined,
    archiveName: string,
  ][] = [
    ['nginx_1.tar', '1', 'none', undefined, 'nginx_1.tar'],
    ['nginx_1.tar.gz', '1', 'gzip', undefined, 'nginx_1.tar.gz'],
    ['nginx_1.tgz', '1', 'gzip', undefined, 'nginx_1.tgz'],
    ['nginx_1.tar.sha256', '1', 'none', 'sha256', 'nginx_1.tar'],
    ['nginx_1.tar.sha512', '1', 'none', 'sha512', 'nginx_1.tar'],
    ['nginx_1.tar.md5', '1', 'none', 'md5', 'nginx_1.tar'],
    ['nginx_1.tar.gz.sha256', '1', 'gzip', 'sha256', 'nginx_1.tar.gz'],
    ['nginx_1.tgz.md5', '1', 'gzip', 'md5', 'nginx_1.tgz'],
    // Only one ending of each kind is removed. The rest belongs to the tag.
    ['nginx_1.tar.tgz', '1.tar', 'gzip', undefined, 'nginx_1.tar.tgz'],
    ['nginx_1.tar.gz.tar', '1.tar.gz', 'none', undefined, 'nginx_1.tar.gz.tar'],
    ['nginx_1.md5.tar', '1.md5', 'none', undefined, 'nginx_1.md5.tar'],
    // A digest in place of the tag. Tags of the referrers tag schema contain a digest too.
    [`nginx_sha256=${HEX}.tar`, SHA256, 'none', undefined, `nginx_sha256=${HEX}.tar`],
    [`nginx_sha512=${HEX}${HEX}.tgz.md5`, SHA512, 'gzip', 'md5', `nginx_sha512=${HEX}${HEX}.tgz`],
    [`nginx_sha256-${HEX}.tar`, `sha256-${HEX}`, 'none', undefined, `nginx_sha256-${HEX}.tar`],
  ];
  for (const [filename, version, compression, checksum, archiveName] of table) {
    test(filename.replace(HEX, '…').replace(HEX, ''), () => {
      const { tag, digest, ...rest } = parseFilename(filename, 'library');
      assert.equal(tag ?? digest, version);
      assert.equal(digest !== undefined, version.includes(':'));
      assert.deepEqual(rest, { repository: 'library/nginx', compression, checksum, archiveName });
    });
  }
});

describe('a filename is refused', () => {
  const component = 'must be a-z and 0-9, joined by ".", "_", "__" or "-"';
  const tagRule = 'must be letters, digits, "_", "." and "-", and start with neither "." nor "-"';
  const ENDING = 'it must end in .tar, .tar.gz or .tgz, each of which .sha256, .sha512 or .md5 may follow';
  const table: readonly [why: string, filename: string, message: string][] = [
    ['without an extension', 'nginx_latest', ENDING],
    ['with another extension', 'nginx_latest.zip', ENDING],
    ['with a capital extension', 'nginx_latest.TAR', ENDING],
    ['when it is empty', '', ENDING],
    ['of a gzip file', 'nginx_latest.gz', ENDING],
    ['with another compression', 'nginx_latest.tar.zst', ENDING],
    ['of a checksum without an archive', 'nginx_latest.sha256', ENDING],
    ['of a checksum of a checksum', 'nginx_latest.tar.md5.sha256', ENDING],
    ['with another checksum', 'nginx_latest.tar.sha1', ENDING],
    ['with a dot at its end', 'nginx_latest.tar.', ENDING],
    ['that is an extension only', '.tar', 'no underscore separates image and tag'],
    ['without an underscore', 'nginx.tar', 'no underscore separates image and tag'],
    ['without a tag', 'nginx_.tar', 'tag is empty'],
    ['without an image', '_latest.tar', 'image is empty'],
    ['with a path that ends in a slash', 'nginx__latest.tar', 'repository has an empty component'],
    ['with a path that begins with a slash', '__nginx_latest.tar', 'repository has an empty component'],
    ['with an empty component inside', 'a____b_1.tar', 'repository has an empty component'],
    ['with a triple underscore', 'a___b_1.tar', `repository component "_b" ${component}`],
    ['with a capital letter in its path', 'Nginx_1.tar', 'repository component "Nginx" is not lower case'],
    ['with two dots in a row', 'a..b_1.tar', `repository component "a..b" ${component}`],
    ['with a parent folder', '..__etc_1.tar', `repository component ".." ${component}`],
    ['with a slash in a tag', 'nginx_a/b.tar', `tag "a/b" ${tagRule}`],
    ['with a tag that begins with a dot', 'nginx_.1.tar', `tag ".1" ${tagRule}`],
    ...[
      ...[`sha256=${HEX.slice(1)}`, `sha256=${HEX}0`, `sha256=${HEX.toUpperCase()}`, `sha512=${HEX}`],
      ...[`md5=${HEX.slice(32)}`, `=${HEX}`, 'sha256=', '=', `1@sha256=${HEX}`, `sha256==${HEX}`],
    ].map((version): [string, string, string] => [
      `with ${version.slice(0, 12)} for a digest`,
      `nginx_${version}.tar`,
      `digest "${version}" must be "sha256=" and 64, or "sha512=" and 128 lower-case hex digits`,
    ]),
    ['with the colon of a digest', `nginx_sha256:${HEX}.tar`, `tag "sha256:${HEX}" ${tagRule}`],
    [
      'with a digest for an image',
      `sha256=${HEX}_1.tar`,
      `repository component "sha256=${HEX}" ${component}`,
    ],
    ['with a tag of 129 characters', `nginx_${'t'.repeat(129)}.tar`, 'tag is longer than 128 characters'],
    ['with a path of 256 characters', `${'a'.repeat(256)}_1.tar`, 'repository is longer than 255 characters'],
  ];
  for (const [why, filename, message] of table) {
    test(why, () => {
      assert.throws(() => parseFilename(filename, ''), {
        name: 'PassthroughError',
        code: 'INVALID_FILENAME',
        message: `Cannot parse filename ${quoted(filename)}: ${message}`,
      });
    });
  }

  test('without an image, also with a default namespace', () => {
    assert.throws(() => parseFilename('_latest.tar', 'library'), /image is empty$/);
  });

  test('if it is too long with the namespace', () => {
    const filename = `${'a'.repeat(250)}_1.tar`;
    assert.equal(parseFilename(filename, '').repository.length, 250);
    assert.throws(() => parseFilename(filename, 'library'), /repository is longer than 255 characters$/);
  });
});

const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const component = fc
  .tuple(word, fc.array(fc.tuple(fc.constantFrom('.', '-', '--', '_', '__'), word), { maxLength: 2 }))
  .map(([first, more]) => first + more.map((pair) => pair.join('')).join(''));
const repository = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,12}$/);

const digests = fc
  .tuple(fc.constantFrom(['sha256', 64] as const, ['sha512', 128] as const), fc.infiniteStream(fc.nat(15)))
  .map(([[algorithm, length], digits]) =>
    parseDigest(`${algorithm}:${[...digits.take(length)].map((digit) => digit.toString(16)).join('')}`),
  );
const versions = fc.oneof(
  tag.map((tag) => ({ tag })),
  digests.map((digest) => ({ digest })),
);
const forms = fc.record({
  compression: fc.constantFrom<Compression>('none', 'gzip'),
  checksum: fc.constantFrom<Checksum | undefined>(undefined, 'sha256', 'sha512', 'md5'),
});

describe('formatFilename', () => {
  test('is the inverse of parseFilename, and undefined only for images outside of the grammar', () => {
    let formatted = 0;
    fc.assert(
      fc.property(repository, versions, forms, (repository, version, form) => {
        const image = { repository, ...version, ...form };
        const filename = formatFilename(image);
        const parts = repository.split('/');
        const [only = ''] = parts;
        const isExpressible =
          !('tag' in version && version.tag.includes('_')) &&
          !repository.includes('__') &&
          // One component with one underscore would be read as two.
          (parts.length > 1 || only.split('_').length !== 2);
        assert.equal(filename !== undefined, isExpressible);
        if (filename === undefined) return;
        formatted += 1;
        const { archiveName, ...back } = parseFilename(filename, '');
        assert.deepEqual(back, image);
        assert.equal(archiveName, formatFilename({ ...image, checksum: undefined }));
        if (parts.length > 1) assert.equal(parseFilename(filename, 'library').repository, repository);
      }),
      { numRuns: 1000 },
    );
    assert.ok(formatted > 100, `only ${formatted} images were formatted`);
  });

  const examples: readonly [image: Parameters<typeof formatFilename>[0], filename: string][] = [
    [{ repository: 'team/platform/api', tag: '2026.06' }, 'team__platform__api_2026.06.tar'],
    [{ repository: 'library/nginx', tag: 'latest' }, 'library__nginx_latest.tar'],
    [{ repository: 'nginx', tag: '1.25' }, 'nginx_1.25.tar'],
    [{ repository: 'nginx', digest: SHA256 }, `nginx_sha256=${HEX}.tar`],
    [{ repository: 'a/b', tag: '1', compression: 'gzip', checksum: 'md5' }, 'a__b_1.tar.gz.md5'],
  ];
  test('writes the examples', () => {
    for (const [image, filename] of examples) assert.equal(formatFilename(image), filename);
  });

  test('is undefined for an invalid image', () => {
    assert.equal(formatFilename({ repository: '', tag: '1' }), undefined);
    assert.equal(formatFilename({ repository: 'Nginx', tag: '1' }), undefined);
    assert.equal(formatFilename({ repository: 'nginx', tag: '' }), undefined);
    assert.equal(formatFilename({ repository: 'nginx' }), undefined);
    assert.equal(formatFilename({ repository: 'nginx', tag: '1', digest: SHA256 }), undefined);
    assert.equal(formatFilename({ repository: 'nginx', tag: `sha256=${HEX}` }), undefined);
  });
});

test('every filename is either read as a valid repository and version, or refused with INVALID_FILENAME', () => {
  const parts = ['/', '%', '\0', 'é', '__', '.tar', '.md5', `sha256=${HEX}`];
  const characters = fc.constantFrom(...'ab0A_-._=', ...parts);
  const filenames = fc.string({ unit: characters, maxLength: 20 });
  fc.assert(
    fc.property(filenames, fc.constantFrom('', 'library'), (stem, namespace) => {
      try {
        const image = parseFilename(`${stem}.tar`, namespace);
        assert.equal(repositoryFault(image.repository), undefined);
        assert.equal((image.tag === undefined) !== (image.digest === undefined), true);
        if (image.tag !== undefined) assert.equal(tagFault(image.tag), undefined);
        else assert.equal(parseDigest(image.digest ?? ''), image.digest);
      } catch (error) {
        assert.equal(error instanceof Error && 'code' in error && error.code, 'INVALID_FILENAME');
      }
    }),
    { numRuns: 1000 },
  );
});
