import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseSizing } from '../../src/archive/iox/settings.ts';
import { findRoute, ROUTES } from '../../src/http/routes.ts';
import { PREFIXES, rootOf } from '../../src/http/routing/prefixes.ts';
import { parseFilename } from '../../src/image/filename.ts';
import { parseReference } from '../../src/image/reference.ts';
import { type Choice, LAYOUT_CHOICES, NO_CHOICE, PROFILES } from '../../src/web/choice.ts';
import { targetOf } from '../../src/web/target.ts';
import { TEXTS } from '../../src/web/texts.ts';

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
    // A package is neither early nor gzipped once more, and always whole.
    [
      { image: 'nginx:1', start: 'early', format: 'tgz', layout: 'iox', since: 'a b' },
      '/iox/nginx_1.tar',
      'nginx_1.tar',
    ],
    [
      { image: 'ghcr.io/org/app:1', platform: 'ie3400', layout: 'iox', profile: 'c1.medium' },
      '/platform/ie3400/profile/c1.medium/registry/https/ghcr.io/iox/org__app_1.tar',
      'org__app_1.tar',
    ],
    [
      { image: 'app:1', layout: 'iox', profile: 'custom', cpu: '1000', memory: '512', space: '128' },
      '/profile/custom/1000/512/128/iox/app_1.tar',
    ],
    [{ image: 'app:1', layout: 'iox', profile: 'custom' }, '/profile/custom/400/256/64/iox/app_1.tar'],
    [{ image: 'app:1', layout: 'iox', profile: 'default', cpu: 'x' }, '/profile/default/iox/app_1.tar'],
    [{ image: 'app:1', layout: 'oci', profile: 'custom', cpu: 'x' }, '/oci/app_1.tar'],
    [{ image: 'app:1_2', profile: 'c1.tiny' }, '/app:1_2?format=tar'],
    [
      { image: 'app:1_2', layout: 'iox', profile: 'c1.tiny' },
      '/app:1_2?layout=iox&format=tar&profile=c1.tiny',
    ],
    [
      { image: 'app:1_2', layout: 'iox', profile: 'custom' },
      '/app:1_2?layout=iox&format=tar&profile=custom&cpu=400&memory=256&disk=64',
    ],
    // A word of a route names an image in a file name, and behind a registry.
    [{ image: 'manifest/x' }, '/docker/manifest__x_latest.tar'],
    [{ image: 'tags/foo:1' }, '/docker/tags__foo_1.tar'],
    [{ image: 'docker:1_2' }, '/docker:1_2?format=tar'],
    [{ image: 'policy/x:1' }, '/docker/policy__x_1.tar'],
    [{ image: 'ghcr.io/tags/foo:1_2' }, '/ghcr.io/tags/foo:1_2?format=tar'],
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
    [{ image: 'a:1', layout: 'iox', profile: 'custom', cpu: '' }, 'cpu', /whole number from 1 to 1000000$/],
    [{ image: 'a:1', layout: 'iox', profile: 'custom', memory: '1.5' }, 'memory', /^Expected a whole number/],
    [{ image: 'a:1', layout: 'iox', profile: 'custom', space: '67108865' }, 'space', /1 to 67108864$/],
    [{ image: 'tags/foo:1_2' }, 'image', /write the registry before the image$/],
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

describe('no path of an image is that of another route', () => {
  const words = [...ROUTES.map(({ pattern }) => rootOf(pattern)), ...PREFIXES, ...LAYOUT_CHOICES];
  for (const word of new Set(words.filter((name) => !/^$|[{]/.test(name)))) {
    // No file name has both tag and digest, or an underscore in the tag.
    test(word, () => {
      for (const image of [`${word}/foo:1_2`, `${word}/foo:1@sha256:${HEX}`])
        assert.deepEqual(addressOf({ image }), ['image'], image);
      assert.ok(
        isOfReference(`/${word}:1_2`) && addressOf({ image: `${word}:1_2` }) === `/${word}:1_2?format=tar`,
      );
      assert.ok(!isOfReference(`/${word}/foo:1_2`), 'no fault is needed');
    });
  }

  test('bundle.', () => {
    assert.deepEqual(addressOf({ image: 'bundle.tar:1_2' }), ['image']);
    assert.equal(addressOf({ image: 'bundle.tar/app:1_2' }), '/bundle.tar/app:1_2?format=tar');
    assert.ok(isOfReference('/bundle.tar/app:1_2'));
  });
});

test('the service reads each path as what was chosen', () => {
  const component = fc.stringMatching(/^[a-z0-9]{1,6}(?:(?:\.|_|__|-)[a-z0-9]{1,4})?$/);
  const anyTag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,12}$/);
  const image = fc
    .tuple(
      fc.constantFrom('', 'ghcr.io/', 'localhost:5000/', '10.0.0.5/'),
      fc.array(component, { minLength: 1, maxLength: 3 }),
      fc.option(anyTag, { nil: undefined }),
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
  const sizes = fc.record({
    profile: fc.constantFrom(...PROFILES),
    ...{ cpu: fc.constantFrom('1', '400'), memory: fc.constant('1024'), space: fc.constantFrom('1', '64') },
  });
  const check = (chosen: Pick<Choice, 'image' | 'layout' | 'format' | 'platform'>, size: Partial<Choice>) => {
    const choice = { ...NO_CHOICE, ...chosen, ...size };
    const { target, faults } = targetOf(choice);
    // A first word of a route, which the table above has.
    fc.pre(faults[0]?.message !== TEXTS.faults.route);
    assert.deepEqual(faults, []);
    assert.ok(target);
    const { route } = findRoute(`${target.path}${target.query}`);
    assert.ok(route.kind === 'archive' || route.kind === 'reference', route.kind);
    assert.equal(route.layout, choice.layout);
    assert.equal(route.platform ?? '', choice.platform);
    const { profile, cpu, memory, space } = choice;
    const numbers = { cpu: Number(cpu), memory: Number(memory), disk: Number(space) };
    assert.deepEqual(
      parseSizing(route.sizing ?? {}),
      choice.layout !== 'iox' || profile === ''
        ? undefined
        : { profile, ...(profile === 'custom' && numbers) },
    );
    const { host, repository, tag, digest } = parseReference(choice.image);
    if (route.kind === 'reference') {
      assert.deepEqual(parseReference(route.reference), { host, repository, tag, digest });
      return;
    }
    const named = parseFilename(route.filename, '');
    assert.deepEqual([route.registry?.host, named.repository], [host, repository]);
    assert.deepEqual([named.tag, named.digest], [digest === undefined ? tag : undefined, digest]);
    assert.equal(named.compression, choice.format === 'tgz' && choice.layout !== 'iox' ? 'gzip' : 'none');
  };
  fc.assert(fc.property(fc.record({ image, layout, format, platform }), sizes, check), { numRuns: 400 });
});

/** Whether the service takes a path for a reference. */
function isOfReference(path: string): boolean {
  try {
    return findRoute(path).route.kind === 'reference';
  } catch {
    return false;
  }
}
