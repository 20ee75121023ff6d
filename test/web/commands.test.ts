import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { type Choice, NO_CHOICE } from '../../src/web/choice.ts';
import { commandsFor, quote } from '../../src/web/commands.ts';
import { targetOf } from '../../src/web/target.ts';

const ORIGIN = 'http://10.20.30.40:8080';

function groupsOf(choice: Partial<Choice>, { origin = ORIGIN, md5 = undefined as string | undefined } = {}) {
  const all = { ...NO_CHOICE, ...choice };
  const { target } = targetOf(all);
  assert.ok(target);
  return new Map(commandsFor(origin, all, target, { md5 }).map((group) => [group.id, group]));
}

describe('the commands of', () => {
  const table: readonly [name: string, choice: Partial<Choice>, texts: Readonly<Record<string, string>>][] = [
    [
      'a public image',
      { image: 'nginx:1.25' },
      {
        url: `${ORIGIN}/docker/nginx_1.25.tar`,
        ios: `copy ${ORIGIN}/docker/nginx_1.25.tar flash:nginx_1.25.tar
verify /md5 flash:nginx_1.25.tar MD5
app-hosting install appid nginx package flash:nginx_1.25.tar`,
        curl: `curl --fail -C - -o nginx_1.25.tar ${ORIGIN}/docker/nginx_1.25.tar
curl --fail -sS ${ORIGIN}/docker/nginx_1.25.tar.sha256 | sha256sum -c`,
        docker: 'docker load -i nginx_1.25.tar',
        containerd: 'ctr images import nginx_1.25.tar',
        podman: 'podman load -i nginx_1.25.tar',
        skopeo: 'skopeo copy docker-archive:nginx_1.25.tar docker://registry.example.com/nginx:1.25',
      },
    ],
    [
      'a private image, with credentials of the client',
      { image: 'ghcr.io/org/my-app:1', credentials: 'client', disk: 'bootflash:' },
      {
        ios: `configure terminal
 ip http client username USER
 ip http client password PASSWORD
end
copy ${ORIGIN}/registry-auth/https/ghcr.io/docker/org__my-app_1.tar bootflash:org__my-app_1.tar
configure terminal
 no ip http client username
 no ip http client password
end
verify /md5 bootflash:org__my-app_1.tar MD5
app-hosting install appid my_app package bootflash:org__my-app_1.tar`,
        curl: `curl --fail -u USER -C - -o org__my-app_1.tar ${ORIGIN}/registry-auth/https/ghcr.io/docker/org__my-app_1.tar
curl --fail -u USER -sS ${ORIGIN}/registry-auth/https/ghcr.io/docker/org__my-app_1.tar.sha256 | sha256sum -c`,
      },
    ],
    [
      'a package',
      { image: 'app:1', layout: 'iox', platform: 'ie3400' },
      {
        ios: `copy ${ORIGIN}/platform/ie3400/iox/app_1.tar flash:app_1.tar
verify /md5 flash:app_1.tar MD5
app-hosting install appid app package flash:app_1.tar`,
      },
    ],
    [
      'an image by reference',
      { image: 'app:1_2' },
      { curl: `curl --fail -C - -o app_1_2.tar '${ORIGIN}/app:1_2?format=tar'`, ios: '' },
    ],
    [
      'all platforms',
      { image: 'app:1', layout: 'oci', platform: 'all' },
      { skopeo: 'skopeo copy --all oci-archive:app_1.tar docker://registry.example.com/app:1', ios: '' },
    ],
    ['an update', { image: 'app:2', since: '1' }, { docker: 'docker load -i app_2_since_1.tar' }],
  ];
  for (const [name, choice, texts] of table) {
    test(name, () => {
      const groups = groupsOf(choice);
      const found = Object.fromEntries(Object.keys(texts).map((id) => [id, groups.get(id as 'url')?.text]));
      assert.deepEqual(found, texts);
    });
  }
});

describe('the tools', () => {
  const table: readonly [choice: Partial<Choice>, ids: readonly string[]][] = [
    [{ layout: 'iox' }, ['curl', 'ios', 'url']],
    [{ since: '1' }, ['curl', 'docker', 'ios', 'url']],
    [{ since: '1', layout: 'oci' }, ['curl', 'docker', 'ios', 'podman', 'url']],
    [{ layout: 'docker-gzip' }, ['containerd', 'curl', 'docker', 'ios', 'podman', 'skopeo', 'url']],
  ];
  for (const [choice, ids] of table) {
    test(`${JSON.stringify(choice)}: ${ids}`, () =>
      assert.deepEqual([...groupsOf({ image: 'app:2', ...choice }).keys()].toSorted(), ids));
  }
});

describe('a note says', () => {
  const notes = (choice: Partial<Choice>, options = {}) =>
    groupsOf({ image: 'app:1', ...choice }, options)
      .get('ios')
      ?.notes.join('\n') ?? '';
  const table: readonly [name: string, choice: Partial<Choice>, origin: string, note: RegExp][] = [
    ['that localhost is out of reach', {}, 'http://localhost:8080', /cannot reach localhost/],
    ['that IPv6 loopback is, too', {}, 'http://[::1]:8080', /cannot reach localhost/],
    ['that a device wants a package', { platform: 'ie3400' }, ORIGIN, /Cisco IE3400 wants an IOx package/],
    ['that another layout is not for devices', { layout: 'oci' }, ORIGIN, /not this layout/],
    ['that IOS types no ?', { image: 'app:1_2' }, ORIGIN, /cannot type the \?/],
    ['when IOS sends credentials', { credentials: 'client' }, ORIGIN, /REGISTRY_CLIENT_AUTH=required/],
    ['where the checksum is', {}, ORIGIN, /curl http:\/\/10\.20\.30\.40:8080\/docker\/app_1\.tar\.md5$/],
  ];
  for (const [name, choice, origin, note] of table)
    test(name, () => assert.match(notes(choice, { origin }), note));

  test('nothing where all is well', () =>
    assert.equal(notes({}, { md5: 'd41d8cd98f00b204e9800998ecf8427e' }), ''));
});

test('a known checksum is written', () => {
  const md5 = 'd41d8cd98f00b204e9800998ecf8427e';
  assert.match(
    groupsOf({ image: 'app:1' }, { md5 }).get('ios')?.text ?? '',
    new RegExp(`^verify /md5 flash:app_1.tar ${md5}$`, 'm'),
  );
});

test('a shell reads a quoted word as it was', () => {
  const words = [
    'plain',
    'http://h/a?b=c&d',
    "it's",
    '$(reboot)',
    '`reboot`',
    'a b',
    '!x',
    '"',
    '\\',
    '*',
    '~',
    '',
  ];
  const script = words.map((word) => `printf '%s\\n' ${quote(word)}`).join('\n');
  assert.equal(execFileSync('/bin/sh', ['-c', script]).toString(), words.map((word) => `${word}\n`).join(''));
});
