import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  formatPlatform,
  isUnknownPlatform,
  normalizePlatform,
  type Platform,
  parsePlatform,
  parsePlatformChoice,
  platformDistance,
  platformOfFields,
} from '../../src/image/platform.ts';

/** Reads `os[(version)]/arch[/variant]` without checks, since registries may have any platform. */
function offered(text: string): Platform {
  const [system = '', architecture = '', variant] = text.split('/');
  const [os = '', osVersion] = system.split(/[()]/);
  return {
    os,
    architecture,
    ...(variant !== undefined && { variant }),
    ...(osVersion !== undefined && { osVersion }),
  };
}

describe('parsePlatform', () => {
  const unchanged = [
    ...['linux/amd64', 'linux/arm64', 'linux/arm64/v8', 'linux/arm/v7', 'windows/amd64', 'linux/s390x'],
    ...['linux/ppc64le/power9', 'linux/arm64/v8.2', 'linux/amd64/v1', 'windows(10.0.17763)/amd64'],
    'windows(10.0.26100)/arm64/v8',
  ];
  const table: Readonly<Record<string, string>> = {
    ...Object.fromEntries(unchanged.map((text) => [text, text])),
    ...{ 'Linux/AMD64': 'linux/amd64', 'linux/x86_64': 'linux/amd64', 'linux/x86-64': 'linux/amd64' },
    ...{ 'linux/i386': 'linux/386', 'linux/i686': 'linux/386', 'linux/x86': 'linux/386' },
    ...{
      'linux/aarch64': 'linux/arm64',
      'linux/AArch64/v8': 'linux/arm64/v8',
      'linux/arm64/8': 'linux/arm64/v8',
    },
    ...{ 'LINUX/ARM/V6': 'linux/arm/v6', 'linux/armhf': 'linux/arm/v7', 'linux/armel': 'linux/arm/v6' },
    ...{ 'linux/arm/7': 'linux/arm/v7', 'linux/arm/8': 'linux/arm/v8', 'linux/armhf/v6': 'linux/arm/v7' },
    ...{
      'linux/arm64/9.5': 'linux/arm64/v9.5',
      'macos/arm64': 'darwin/arm64',
      'MacOS/x86_64': 'darwin/amd64',
    },
    'Windows(10.0.20348.2700)/x86_64': 'windows(10.0.20348.2700)/amd64',
  };
  for (const [text, expected] of Object.entries(table)) {
    test(`reads ${text} as ${expected}`, () => {
      assert.equal(formatPlatform(parsePlatform(text)), expected);
    });
  }

  test('is the inverse of formatPlatform', () => {
    const texts = [
      ...['linux', 'windows', 'freebsd'].flatMap((os) =>
        ['amd64', 'arm64', 'arm', '386', 'riscv64', 'ppc64le'].map((name) => `${os}/${name}`),
      ),
      ...['v5', 'v6', 'v7', 'v8'].map((variant) => `linux/arm/${variant}`),
      ...['v8', 'v8.1', 'v9', 'v9.2'].map((variant) => `linux/arm64/${variant}`),
      ...['v1', 'v2', 'v3', 'v4'].map((variant) => `linux/amd64/${variant}`),
      ...['10.0.17763', '10.0.20348.2700'].map((version) => `windows(${version})/amd64`),
    ];
    for (const platform of texts.map(offered)) {
      assert.deepEqual(parsePlatform(formatPlatform(platform)), platform);
    }
  });
});

describe('parsePlatform refuses', () => {
  /** Texts by the reason. */
  const table: Readonly<Record<string, readonly string[]>> = {
    'expected os/arch or os/arch/variant, such as linux/arm64': [
      ...['', 'linux', 'linux/', '/amd64', 'linux//v8', 'linux/arm64/', 'linux/arm/v7/x', 'all'],
    ],
    'unknown operating system "lunix"': ['lunix/amd64', 'Lunix/amd64'],
    'unknown operating system " linux"': [' linux/amd64'],
    'unknown operating system "constructor"': ['constructor/amd64'],
    'unknown operating system "windows(10.0.17763"': ['windows(10.0.17763/amd64'],
    'unknown operating system "(10.0.17763)"': ['(10.0.17763)/amd64'],
    'unknown architecture "amd65"': ['linux/amd65'],
    'unknown architecture "unknown"': ['linux/unknown'],
    'unknown architecture "constructor"': ['linux/constructor'],
    'unknown architecture "__proto__"': ['linux/__proto__'],
    'unknown variant "v9" of arm, expected one of v8, v7, v6, v5': ['linux/arm/v9'],
    'unknown variant "v7" of arm64, expected one of v9, v8': ['linux/arm64/v7'],
    'unknown variant "v8.10" of arm64, expected one of v9, v8': ['linux/arm64/v8.10'],
    'unknown variant "v9.6" of arm64, expected one of v9, v8': ['linux/arm64/v9.6'],
    'unknown variant "v5" of amd64, expected one of v4, v3, v2, v1': ['linux/amd64/v5'],
    'unknown variant "z 14" of s390x': ['linux/s390x/z 14'],
    'linux images have no version to choose by': ['linux(6.1)/amd64'],
    ...Object.fromEntries(
      ['', '10.0', 'ltsc2022', '10.0.17763+win32k'].map((version) => [
        `unknown version "${version}" of Windows, expected one such as 10.0.17763`,
        [`windows(${version})/amd64`],
      ]),
    ),
  };
  const rows = Object.entries(table).flatMap(([why, texts]) => texts.map((text) => [text, why] as const));
  for (const [text, why] of rows) {
    test(`${JSON.stringify(text)}: ${why}`, () => {
      assert.throws(() => parsePlatform(text), {
        name: 'PassthroughError',
        code: 'INVALID_PLATFORM',
        message: `Cannot parse platform ${JSON.stringify(text)}: ${why}`,
      });
    });
  }
});

describe('platformDistance', () => {
  const arms = ['linux/arm/v8', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5'];
  // The images that a machine runs, best first: https://github.com/containerd/platforms/blob/main/compare.go
  const runs: Readonly<Record<string, readonly string[]>> = {
    'linux/amd64': ['linux/amd64', 'linux/386'],
    'linux/amd64/v3': ['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64/v1', 'linux/386'],
    'linux/arm64': ['linux/arm64/v8', ...arms],
    'linux/arm64/v8.2': ['linux/arm64/v8.2', 'linux/arm64/v8.1', 'linux/arm64/v8', ...arms],
    'linux/arm64/v9': ['linux/arm64/v9', 'linux/arm64/v8.5', 'linux/arm64/v8', ...arms],
    'linux/arm64/v9.1': ['linux/arm64/v9.1', 'linux/arm64/v9', 'linux/arm64/v8.6', 'linux/arm64/v8', ...arms],
    'linux/arm/v8': arms,
    'linux/arm': ['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5'],
    'linux/arm/v6': ['linux/arm/v6', 'linux/arm/v5'],
    'linux/arm/v5': ['linux/arm/v5'],
    'linux/riscv64': ['linux/riscv64'],
    'windows/amd64': ['windows/amd64', 'windows/386'],
    'windows(10.0.17763.5000)/amd64': [
      'windows(10.0.17763.5000)/amd64',
      'windows(10.0.17763.6189)/amd64',
      'windows(10.0.17763.1)/amd64',
      'windows/amd64',
      'windows(10.0.17763.6189)/386',
    ],
    'windows(10.0.26100)/amd64': [
      'windows(10.0.26100)/amd64',
      'windows(10.0.26100.1)/amd64',
      'windows(10.0.20348.2700)/amd64',
      'windows(10.0.20348.1)/amd64',
      'windows/amd64',
    ],
  };
  for (const [machine, images] of Object.entries(runs)) {
    test(`ranks the images of ${machine}: ${images.join(', then ')}`, () => {
      const distances = images.map((image) => platformDistance(offered(image), parsePlatform(machine)));
      assert.equal(distances[0], 0);
      const known = distances.filter((distance) => distance !== undefined);
      assert.equal(known.length, images.length);
      assert.deepEqual(
        known,
        [...new Set(known)].toSorted((a, b) => a - b),
      );
    });
  }

  /** Images that a machine does not run. */
  const excluded: Readonly<Record<string, readonly string[]>> = {
    'linux/amd64': [
      ...['linux/arm64', 'windows/amd64', 'linux/amd64/v2', 'unknown/unknown'],
      ...['linux/constructor', 'linux/__proto__'],
    ],
    'linux/386': ['linux/amd64'],
    'linux/arm': ['linux/arm/v8'],
    'linux/arm/v6': ['linux/arm/v7', 'linux/arm'],
    'linux/arm/v8': ['linux/arm64'],
    'linux/arm64': ['windows/arm', 'linux/arm64/v9', 'linux/arm64/v99'],
    'linux/arm64/v9': ['linux/arm64/v8.6'],
    'windows(10.0.17763)/amd64': [
      ...['windows(10.0.20348.1)/amd64', 'windows(6.3.17763)/amd64', 'windows(ltsc2019)/amd64'],
    ],
    'windows(10.0.20348)/amd64': ['windows(10.0.17763.6189)/amd64', 'windows(10.0.26100.1)/amd64'],
  };
  for (const [machine, images] of Object.entries(excluded)) {
    test(`excludes from ${machine}: ${images.join(', ')}`, () => {
      for (const image of images) {
        assert.equal(platformDistance(offered(image), parsePlatform(machine)), undefined, image);
      }
    });
  }

  /** Images that match a machine exactly. */
  const exact: Readonly<Record<string, readonly string[]>> = {
    'linux/amd64': [...['linux/x86_64', 'linux/amd64/v1', 'Linux/amd64', 'linux/amd64/', 'linux(6.1)/amd64']],
    'linux/386': ['linux/i386'],
    'linux/arm': ['linux/arm/7'],
    'linux/arm/v7': ['linux/arm', 'linux/armhf'],
    'linux/arm64': ['linux/arm64/8', 'linux/aarch64', 'linux/AARCH64/V8', 'linux/arm64/v8.0'],
    'linux/arm64/v8': ['linux/arm64'],
    'linux/arm64/v9': ['linux/arm64/9.0'],
    'darwin/arm64': ['macos/arm64'],
    'windows/amd64': ['windows(10.0.17763.6189)/amd64', 'windows(ltsc2019)/amd64'],
  };
  for (const [machine, images] of Object.entries(exact)) {
    test(`is 0 on ${machine} for ${images.join(', ')}`, () => {
      for (const image of images) {
        assert.equal(platformDistance(offered(image), parsePlatform(machine)), 0, image);
      }
    });
  }
});

test('the platform of attestations is unknown/unknown', () => {
  assert.equal(isUnknownPlatform(offered('unknown/unknown')), true);
  assert.equal(isUnknownPlatform(offered('linux/amd64')), false);
});

describe('normalizePlatform gives one form to all spellings of', () => {
  const table: Readonly<Record<string, readonly string[]>> = {
    'linux/arm64': ['linux/arm64', 'linux/arm64/v8', 'linux/arm64/8', 'linux/arm64/v8.0', 'Linux/AArch64/V8'],
    'linux/arm64/v9': ['linux/arm64/v9', 'linux/arm64/9', 'linux/arm64/v9.0'],
    'linux/arm/v7': ['linux/arm', 'linux/arm/7', 'linux/armhf', 'linux/armhf/v6'],
    'linux/arm/v6': ['linux/armel', 'linux/arm/6'],
    'linux/arm/v8': ['linux/arm/8'],
    'linux/amd64': ['linux/amd64', 'linux/amd64/v1', 'linux/x86_64', 'linux/x86-64/1'],
    'linux/amd64/v3': ['linux/amd64/v3'],
    'linux/386': ['linux/i386', 'linux/x86'],
    'darwin/arm64': ['macos/aarch64', 'darwin/arm64/v8'],
    'windows(10.0.17763)/amd64': ['windows(10.0.17763)/x86_64'],
  };
  for (const [one, spellings] of Object.entries(table)) {
    test(`${one}: ${spellings.join(', ')}`, () => {
      for (const spelling of spellings) {
        const normal = normalizePlatform(offered(spelling));
        assert.equal(formatPlatform(normal), one);
        assert.deepEqual(normalizePlatform(normal), normal);
        assert.equal(platformDistance(offered(spelling), normal), 0);
      }
    });
  }
});

test('a platform choice is one platform or all', () => {
  assert.equal(parsePlatformChoice('all'), 'all');
  assert.equal(parsePlatformChoice('ALL'), 'all');
  assert.deepEqual(parsePlatformChoice('linux/arm64'), { os: 'linux', architecture: 'arm64' });
  assert.throws(() => parsePlatformChoice('every'), { code: 'INVALID_PLATFORM' });
});

test('platformOfFields reads the platform of a document, or none', () => {
  const amd64 = { os: 'windows', architecture: 'amd64' };
  const table: readonly [fields: unknown, platform: Platform | undefined][] = [
    [amd64, amd64],
    [
      { ...amd64, 'os.version': '10.0.17763.1' },
      { ...amd64, osVersion: '10.0.17763.1' },
    ],
    [{ ...amd64, 'os.version': '', variant: '' }, amd64],
    [{ ...amd64, 'os.version': 10, variant: 8, osVersion: 'x' }, amd64],
    [
      { ...amd64, variant: 'v2', 'os.features': ['win32k'] },
      { ...amd64, variant: 'v2' },
    ],
    [{ os: 'linux' }, undefined],
    [{ os: '', architecture: 'arm' }, undefined],
    [[], undefined],
    [undefined, undefined],
  ];
  for (const [fields, platform] of table) assert.deepEqual(platformOfFields(fields), platform);
});
