import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEVICES, devicePlatform } from '../../src/image/device.ts';
import { formatPlatform, parsePlatform, parsePlatformChoice } from '../../src/image/platform.ts';

describe('a device', () => {
  const table: Readonly<Record<string, string>> = {
    ir1101: 'linux/arm64',
    ir1800: 'linux/arm64',
    ir1835: 'linux/arm64',
    cat9k: 'linux/amd64',
    cat9300: 'linux/amd64',
    ir8340: 'linux/amd64',
    ic3000: 'linux/amd64',
    c8000v: 'linux/amd64',
    ie3300: 'linux/arm64',
    ie3500: 'linux/arm64',
    ir829: 'linux/amd64',
    IR1101: 'linux/arm64',
    Cat9K: 'linux/amd64',
  };
  for (const [name, platform] of Object.entries(table)) {
    test(`${name} has platform ${platform}`, () => {
      const found = devicePlatform(name);
      assert.equal(found && formatPlatform(found), platform);
    });
  }

  test('outside of the list has no platform', () => {
    for (const name of ['', 'ir', 'cat9200', 'linux', 'constructor', '__proto__', ' ir1101']) {
      assert.equal(devicePlatform(name), undefined, name);
    }
  });
});

describe('a device that wants a package', () => {
  const table: Readonly<Record<string, boolean>> = {
    ...{ ie3300: true, ie3400: true, ir809: true, ir829: true, ir1835: true, ir8340: true, ic3000: true },
    ...{ cat9k: false, cat9300: false, ir1101: false, ie3500: false, c8000v: false },
  };
  for (const [name, wantsPackage] of Object.entries(table)) {
    test(`${name}: ${wantsPackage}`, () => {
      assert.equal(DEVICES.find((device) => device.name === name)?.wantsPackage, wantsPackage);
    });
  }
});

describe('each device of the list', () => {
  test('has a unique name that fits into a URL and is not a platform', () => {
    assert.equal(new Set(DEVICES.map(({ name }) => name)).size, DEVICES.length);
    for (const { name } of DEVICES) {
      assert.match(name, /^[a-z0-9]+$/);
      assert.throws(() => parsePlatformChoice(name), { code: 'INVALID_PLATFORM' });
      // Nor is it an operating system, which stands in the same place of a path.
      assert.throws(() => parsePlatform(`${name}/amd64`), /unknown operating system/);
    }
  });

  test('has a valid platform', () => {
    for (const { platform } of DEVICES) {
      assert.deepEqual(parsePlatform(formatPlatform(platform)), platform);
    }
  });
});
