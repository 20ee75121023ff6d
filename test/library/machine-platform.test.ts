import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPlatform, parsePlatform } from '../../src/image/platform.ts';
import { machinePlatform } from '../../src/library/machine-platform.ts';

test('the names of Node for a machine become those of images', () => {
  const rows = [
    ['linux', 'x64', 'linux/amd64'],
    ['darwin', 'arm64', 'darwin/arm64'],
    ['win32', 'ia32', 'windows/386'],
    ['linux', 'arm', 'linux/arm'],
    ['linux', 's390x', 'linux/s390x'],
    ['linux', 'riscv64', 'linux/riscv64'],
    ['linux', 'mipsel', 'linux/mipsle'],
    ['sunos', 'x64', 'solaris/amd64'],
  ] as const;
  for (const [system, architecture, expected] of rows) {
    assert.equal(formatPlatform(machinePlatform(system, architecture)), expected);
  }
  assert.doesNotThrow(() => parsePlatform(formatPlatform(machinePlatform())));
});
