import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { findRoute } from '../../src/http/routes.ts';
import { parseFilename } from '../../src/image/filename.ts';
import { parseReference } from '../../src/image/reference.ts';
import { type Choice, LAYOUT_CHOICES, NO_CHOICE } from '../../src/web/choice.ts';
import { targetOf } from '../../src/web/target.ts';

const HEX = 'a'.repeat(64);

/** The path and query of a choice, or its faults. */
function addressOf(choice: Partial<Choice>): string | readonly string[] {
  const { target, faults } = targetOf({ ...NO_CHOICE, ...choice });
  return target === undefined ? faults.map(({ field }) => field) : `${target.path}${target.query}`;
}

describe('a choice leads to the path', () => {
  const table: readonly [choice: Partial<Choice>, address: string, filename?: string][] = [
    [{ image: 'nginx' }, '/docker/nginx_latest.tar', 'nginx_latest.tar'],
    [{ image: 'nginx:1.25', format: 'tgz' }, '/docker/nginx_1.25.tgz', 'nginx_1.25.tgz'],
    [{ image: ' docker pull org/app:1 ' }, '/docker/org__app_1.tar', 'org__app_1.tar'],
    [{ image: `app@sha256:${HEX}` }, `/docker/app_sha256=${HEX}.tar`, `app_sha256=${HEX}.tar`],
    [{ image: 'ghcr.io/org/app:1.2' }, '/registry/https/ghcr.io/docker/org__app_1.2.tar'],
    [
      { image: '10.0.0.5:5000/team/app:1', scheme: 'http' },
      '/registry/http/10.0.0.5%3A5000/docker/team__app_1.tar',
    ],
    [
      { image: 'ghcr.io/org/app:1', credentials: 'client' },
      '/registry-auth/https/ghcr.io/docker/org__app_1.tar',
    ],
    [{ image: 'nginx:1', credentials: 'client' }, '/docker/nginx_1.tar'],
    [{ image: 'nginx:1', platform: 'linux/arm/v7' }, '/platform/linux/arm/v7/docker/nginx_1.tar'],
    [{ image: 'nginx:1', platform: 'ie3400', layout: 'iox' }, '/platform/ie3400/iox/nginx_1.tar'],
    [{ image: 'podman pull --platform linux/arm64 nginx:1' }, '/platform/linux/arm64/docker/nginx_1.tar'],
    [
      { image: 'docker pull --platform linux/arm64 nginx:1', platform: 'cat9k' },
      '/platform/cat9k/docker/nginx_1.tar',
    ],
    [{ image: 'nginx:1', platform: 'all', layout: 'oci' }, '/platform/all/oci/nginx_1.tar'],
    [{ image: 'nginx:1', start: 'early', layout: 'docker-gzip' }, '/early/docker-gzip/nginx_1.tar'],
    [{ image: 'nginx:1', start: 'early', format: 'tgz', layout: 'iox' }, '/iox/nginx_1.tar'],
    [
      { image: 'nginx:1.25', since: '1.24' },
      '/since/1.24/docker/nginx_1.25.tar',
      'nginx_1.25_since_1.24.tar',
    ],
    [{ image: 'nginx:1.25', since: `@sha256:${HEX}` }, `/since/sha256=${HEX}/docker/nginx_1.25.tar`],
    [
      { image: 'nginx:1.25', since: 'org/base:1' },
      '/docker/nginx_1.25.tar?since=org%2Fbase%3A1',
      'nginx_1.25_since_org__base_1.tar',
    ],
    [
      { image: 'nginx:1.25', since: 'nginx:1.24' },
      '/docker/nginx_1.25.tar?since=nginx%3A1.24',
      'nginx_1.25_since_1.24.tar',
    ],
    // What no filename can say is named by its reference.
    [{ image: 'app:1_2' }, '/app:1_2?format=tar', 'app_1_2.tar'],
    [{ image: 'ghcr.io/my_app:1', format: 'tgz' }, '/ghcr.io/my_app:1', 'my_app_1.tgz'],
    [
      { image: 'app:1_2', platform: 'ir1101', layout: 'oci', since: '1_1', start: 'early' },
      '/app:1_2?platform=ir1101&layout=oci&format=tar&since=1_1&start=early',
      'app_1_2_since_1_1.tar',
    ],
    [{ image: `app:1@sha256:${HEX}` }, `/app:1@sha256:${HEX}?format=tar`, 'app_1.tar'],
  ];
  for (const [choice, address, filename] of table) {
    test(address, () => {
      assert.equal(addressOf(choice), address);
      if (filename !== undefined)
        assert.equal(targetOf({ ...NO_CHOICE, ...choice }).target?.filename, filename);
      assert.doesNotThrow(() => findRoute(address));
    });
  }
});

test('an empty field is no fault', () => assert.deepEqual(targetOf(NO_CHOICE), { faults: [] }));

describe('a fault stands at its field, in words', () => {
  const table: readonly [choice: Partial<Choice>, field: keyof Choice, message: RegExp][] = [
    [{ image: 'nginx:' }, 'image', /^Tag is empty$/],
    [{ image: 'Nginx' }, 'image', /^Repository component "Nginx" is not lower case$/],
    [{ image: 'a b' }, 'image', /^A space/],
    [{ image: 'user:secret@ghcr.io/app' }, 'image', /^Credentials do not belong here/],
    [{ image: 'https://example.com/app' }, 'image', /address of a page/],
    [{ image: 'a:1', platform: 'linux/arm65' }, 'platform', /^Unknown architecture "arm65"/],
    [{ image: 'a:1', platform: 'ir1102' }, 'platform', /Did you mean ir1101\?/],
    [{ image: 'a:1', platform: 'all' }, 'platform', /^Only the OCI layout/],
    [{ image: 'a:1', since: 'b c' }, 'since', /letters, digits/],
    [{ image: 'a:1', since: 'u:p@host/app' }, 'since', /^Credentials do not belong here/],
    [{ image: 'a:1', since: '1', layout: 'iox' }, 'since', /^A package is always whole/],
    [{ image: 'r.example/app:1_2', scheme: 'http' }, 'scheme', /plain http/],
  ];
  for (const [choice, field, message] of table) {
    test(`${JSON.stringify(choice)}`, () => {
      const { faults, target } = targetOf({ ...NO_CHOICE, ...choice });
      assert.equal(target, undefined);
      assert.deepEqual(
        faults.map((fault) => fault.field),
        [field],
      );
      assert.match(faults[0]?.message ?? '', message);
    });
  }

  test('without the secret in it', () => {
    for (const image of ['user:secret@ghcr.io/app', 'secret@x', 'https://u:secret@ghcr.io/app:1']) {
      assert.doesNotMatch(JSON.stringify(targetOf({ ...NO_CHOICE, image })), /secret/);
    }
  });
});

test('the service reads each path as what was chosen', () => {
  const component = fc.stringMatching(/^[a-z0-9]{1,6}(?:(?:\.|_|__|-)[a-z0-9]{1,4})?$/);
  const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,12}$/);
  const image = fc
    .tuple(
      fc.constantFrom('', 'ghcr.io/', 'localhost:5000/', '10.0.0.5/'),
      // The first word of a route names no image.
      fc.array(component, { minLength: 1, maxLength: 3 }).filter(([first = '']) => findsNoRoute(first)),
      fc.option(tag, { nil: undefined }),
      fc.option(fc.constant(HEX), { nil: undefined }),
    )
    .map(([host, path, version, hex]) =>
      [
        host,
        path.join('/'),
        version === undefined ? '' : `:${version}`,
        hex === undefined ? '' : `@sha256:${hex}`,
      ].join(''),
    );
  const layout = fc.constantFrom(...LAYOUT_CHOICES);
  const format = fc.constantFrom('tar' as const, 'tgz' as const);
  const platform = fc.constantFrom('', 'linux/arm64', 'linux/arm/v7', 'cat9k');
  const check = (choice: Pick<Choice, 'image' | 'layout' | 'format' | 'platform'>) => {
    const { target, faults } = targetOf({ ...NO_CHOICE, ...choice });
    assert.deepEqual(faults, []);
    assert.ok(target);
    const { route } = findRoute(`${target.path}${target.query}`);
    assert.ok(route.kind === 'archive' || route.kind === 'reference', route.kind);
    assert.equal(route.layout, choice.layout);
    assert.equal(route.platform ?? '', choice.platform);
    const { host, repository, tag: chosen, digest } = parseReference(choice.image);
    if (route.kind === 'reference') {
      assert.deepEqual(parseReference(route.reference), { host, repository, tag: chosen, digest });
      return;
    }
    const named = parseFilename(route.filename, '');
    assert.deepEqual([route.registry?.host, named.repository], [host, repository]);
    assert.deepEqual([named.tag, named.digest], [digest === undefined ? chosen : undefined, digest]);
    assert.equal(named.compression, choice.format === 'tgz' && choice.layout !== 'iox' ? 'gzip' : 'none');
  };
  fc.assert(fc.property(fc.record({ image, layout, format, platform }), check), { numRuns: 400 });
});

function findsNoRoute(first: string): boolean {
  return findRoute(`/${first}/x:1`).route.kind === 'reference';
}
