import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isOsVersion, OS_VERSION_GAP_LIMIT, osVersionGap } from '../../src/image/os-version.ts';

test('a version of Windows has three or four numbers', () => {
  for (const text of ['10.0.17763', '10.0.17763.6189', '6.3.9600', '10.0.65535.65535', '10.0.0']) {
    assert.equal(isOsVersion(text), true, text);
  }
  for (const text of [
    '',
    '10',
    '10.0',
    '10.0.x',
    '10.0.17763.',
    '10.0.17763.1.2',
    '10.0.65536',
    ' 10.0.17763',
  ]) {
    assert.equal(isOsVersion(text), false, text);
  }
});

describe('an image of Windows', () => {
  // Nearest first; https://learn.microsoft.com/en-us/virtualization/windowscontainers/deploy-containers/version-compatibility
  const runs: readonly [machine: string, images: readonly (string | undefined)[]][] = [
    ['10.0.17763', ['10.0.17763', '10.0.17763.6189', '10.0.17763.0', undefined]],
    ['10.0.17763.100', ['10.0.17763.100', '10.0.17763.6189', '10.0.17763.99', '10.0.17763', undefined]],
    ['10.0.22621', ['10.0.22621.1', '10.0.20348.2700', '10.0.20348.1', undefined]],
    [
      '10.0.65535',
      ['10.0.65535', '10.0.65535.65534', '10.0.65535.0', '10.0.20348.65535', '10.0.20348', undefined],
    ],
  ];
  for (const [machine, images] of runs) {
    test(`runs on ${machine}: ${images.join(', then ')}`, () => {
      const gaps = images.map((image) => osVersionGap(image, machine));
      for (const [index, gap] of gaps.entries()) {
        assert.ok(gap !== undefined && gap >= 0 && gap < OS_VERSION_GAP_LIMIT, `${images[index]}: ${gap}`);
        assert.ok(index === 0 || gap > (gaps[index - 1] ?? 0), `${images[index]}: ${gaps}`);
      }
    });
  }

  const runsNot: readonly [image: string, machine: string][] = [
    ['10.0.14393.1', '10.0.17763'],
    ['10.0.20348.1', '10.0.17763'],
    ['10.0.17763.1', '10.0.20348'],
    ['10.0.22621.1', '10.0.20348'],
    ['6.0.17763', '10.0.17763'],
    ['ltsc2019', '10.0.17763'],
    ['', '10.0.17763'],
  ];
  for (const [image, machine] of runsNot) {
    test(`of ${JSON.stringify(image)} does not run on ${machine}`, () => {
      assert.equal(osVersionGap(image, machine), undefined);
    });
  }

  test('runs on any machine without a version, with equal rank', () => {
    for (const image of ['10.0.17763.1', '10.0.20348', 'ltsc2019', undefined]) {
      assert.equal(osVersionGap(image, undefined), 0);
    }
  });
});
