import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  formatPlatform,
  isUnknownPlatform,
  type Platform,
  parsePlatform,
  platformDistance,
} from '../../src/image/platform.ts';

/** `os/arch[/variant]` as a registry may have it, which is not checked as a request's is. */
function offered(text: string): Platform {
  const [os = '', architecture = '', variant] = text.split('/');
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

describe('a platform is read', () => {
  const table: Readonly<Record<string, string>> = {
    'linux/amd64': 'linux/amd64',
    'linux/arm64': 'linux/arm64',
    'linux/arm64/v8': 'linux/arm64/v8',
    'linux/arm/v7': 'linux/arm/v7',
    'windows/amd64': 'windows/amd64',
    'linux/s390x': 'linux/s390x',
    'Linux/AMD64': 'linux/amd64',
    'LINUX/ARM/V6': 'linux/arm/v6',
    'linux/x86_64': 'linux/amd64',
    'linux/x86-64': 'linux/amd64',
    'linux/aarch64': 'linux/arm64',
    'linux/AArch64/v8': 'linux/arm64/v8',
    'linux/i386': 'linux/386',
    'linux/i686': 'linux/386',
    'linux/x86': 'linux/386',
    'linux/armhf': 'linux/arm/v7',
    'linux/armel': 'linux/arm/v6',
    'linux/arm/7': 'linux/arm/v7',
    'linux/arm64/8': 'linux/arm64/v8',
    'linux/ppc64le/power9': 'linux/ppc64le/power9',
  };
  for (const [text, expected] of Object.entries(table)) {
    test(`${text} as ${expected}`, () => {
      assert.equal(formatPlatform(parsePlatform(text)), expected);
    });
  }

  test('and what is written is read back the same', () => {
    const platforms = fc.oneof(
      fc
        .tuple(
          fc.constantFrom('linux', 'windows', 'freebsd'),
          fc.constantFrom('amd64', 'arm64', 'arm', '386', 'riscv64', 'ppc64le'),
        )
        .map(([os, architecture]): Platform => ({ os, architecture })),
      fc.constantFrom<Platform>(
        ...['v5', 'v6', 'v7', 'v8'].map((variant) => ({ os: 'linux', architecture: 'arm', variant })),
        ...['v8', 'v9'].map((variant) => ({ os: 'linux', architecture: 'arm64', variant })),
        ...['v1', 'v2', 'v3', 'v4'].map((variant) => ({ os: 'linux', architecture: 'amd64', variant })),
      ),
    );
    fc.assert(
      fc.property(platforms, (platform) => {
        assert.deepEqual(parsePlatform(formatPlatform(platform)), platform);
      }),
    );
  });
});

describe('a platform is refused', () => {
  const shape = 'expected os/arch or os/arch/variant, such as linux/arm64';
  const table: Readonly<Record<string, string>> = {
    '': shape,
    linux: shape,
    'linux/': shape,
    '/amd64': shape,
    'linux//v8': shape,
    'linux/arm64/': shape,
    'linux/arm/v7/x': shape,
    'lunix/amd64': 'unknown operating system "lunix"',
    'Lunix/amd64': 'unknown operating system "lunix"',
    ' linux/amd64': 'unknown operating system " linux"',
    'constructor/amd64': 'unknown operating system "constructor"',
    'linux/amd65': 'unknown architecture "amd65"',
    'linux/unknown': 'unknown architecture "unknown"',
    'linux/constructor': 'unknown architecture "constructor"',
    'linux/__proto__': 'unknown architecture "__proto__"',
    'linux/arm/v9': 'unknown variant "v9" of arm, expected one of v8, v7, v6, v5',
    'linux/arm64/v7': 'unknown variant "v7" of arm64, expected one of v9, v8',
    'linux/amd64/v5': 'unknown variant "v5" of amd64, expected one of v4, v3, v2, v1',
    'linux/s390x/z 14': 'unknown variant "z 14" of s390x',
  };
  for (const [text, why] of Object.entries(table)) {
    test(`for ${JSON.stringify(text)}`, () => {
      assert.throws(() => parsePlatform(text), {
        name: 'PassthroughError',
        code: 'INVALID_PLATFORM',
        message: `Cannot parse platform ${JSON.stringify(text)}: ${why}`,
      });
    });
  }
});

describe('an image runs on a machine', () => {
  // The variants that a machine runs, best first: https://github.com/containerd/platforms/blob/v1.0.0/compare.go
  const runs: Readonly<Record<string, readonly string[]>> = {
    'linux/amd64': ['linux/amd64'],
    'linux/amd64/v3': ['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64/v1'],
    'linux/arm64': ['linux/arm64/v8'],
    'linux/arm64/v9': ['linux/arm64/v9', 'linux/arm64/v8'],
    'linux/arm/v8': ['linux/arm/v8', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5'],
    'linux/arm': ['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5'],
    'linux/arm/v6': ['linux/arm/v6', 'linux/arm/v5'],
    'linux/arm/v5': ['linux/arm/v5'],
    'linux/riscv64': ['linux/riscv64'],
    'windows/amd64': ['windows/amd64'],
  };
  for (const [machine, images] of Object.entries(runs)) {
    test(`of ${machine}: ${images.join(', then ')}`, () => {
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

  const runsNot: readonly [image: string, machine: string][] = [
    ['linux/arm64', 'linux/amd64'],
    ['windows/amd64', 'linux/amd64'],
    ['linux/386', 'linux/amd64'],
    ['linux/arm', 'linux/arm64'],
    ['linux/amd64/v2', 'linux/amd64'],
    ['linux/arm64/v9', 'linux/arm64'],
    ['linux/arm/v7', 'linux/arm/v6'],
    ['linux/arm', 'linux/arm/v6'],
    ['linux/arm/v8', 'linux/arm'],
    ['linux/arm64/v99', 'linux/arm64'],
    ['unknown/unknown', 'linux/amd64'],
    ['linux/constructor', 'linux/amd64'],
    ['linux/__proto__', 'linux/amd64'],
  ];
  for (const [image, machine] of runsNot) {
    test(`but not ${image} on ${machine}`, () => {
      assert.equal(platformDistance(offered(image), parsePlatform(machine)), undefined);
    });
  }

  const same: readonly [image: string, machine: string][] = [
    ['linux/arm64', 'linux/arm64/v8'],
    ['linux/arm64/8', 'linux/arm64'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/AARCH64/V8', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/7', 'linux/arm'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['Linux/amd64', 'linux/amd64'],
    ['linux/i386', 'linux/386'],
    ['linux/amd64/', 'linux/amd64'],
  ];
  for (const [image, machine] of same) {
    test(`just as well when ${image} is written for ${machine}`, () => {
      assert.equal(platformDistance(offered(image), parsePlatform(machine)), 0);
    });
  }
});

test('entries that hold no image are filed under unknown', () => {
  assert.equal(isUnknownPlatform(offered('unknown/unknown')), true);
  assert.equal(isUnknownPlatform(offered('linux/amd64')), false);
});
