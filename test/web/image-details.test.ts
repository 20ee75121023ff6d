import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { toHtml } from '../../src/web/element.ts';
import { fittingTags } from '../../src/web/fitting-tags.ts';
import { comparedLayers, configDetails, layersOf, platformsOf } from '../../src/web/image-details.ts';
import { readPreparation } from '../../src/web/preparation.ts';
import { detailsView } from '../../src/web/views/details.ts';
import { progressView } from '../../src/web/views/progress.ts';

const HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>\u202Ejavascript:';

test('platforms are those of images, each once', () => {
  const entry = (os: string, architecture: string, variant?: string) => ({
    platform: { os, architecture, variant },
  });
  const manifests = [
    entry('linux', 'amd64'),
    entry('linux', 'arm', 'v7'),
    entry('unknown', 'unknown'),
    entry('linux', HOSTILE),
    entry('linux', 'amd64'),
    {},
    null,
  ];
  assert.deepEqual(platformsOf({ manifests }), ['linux/amd64', 'linux/arm/v7']);
  assert.deepEqual(platformsOf({ layers: [] }), []);
});

test('layers have sizes, and say what an update leaves out', () => {
  assert.deepEqual(
    layersOf({
      layers: [
        { digest: 'sha256:1', size: 5 },
        { digest: 7, size: -1 },
      ],
    }),
    [
      { digest: 'sha256:1', size: 5, isShared: false },
      { digest: '', size: 0, isShared: false },
    ],
  );
  assert.equal(layersOf({ manifests: [] }), undefined);
  assert.deepEqual(
    comparedLayers({ layers: [{ digest: 'a', size: 1, shared: true }], bytes: 9, updateBytes: 3 }),
    {
      layers: [{ digest: 'a', size: 1, isShared: true }],
      update: { bytes: 3, whole: 9 },
    },
  );
});

test('a config says what it is of', () => {
  const config = {
    os: 'linux',
    architecture: 'arm64',
    created: '2026-01-02T03:04:05.678Z',
    config: { Entrypoint: ['/e'], Cmd: ['a', 1], Labels: { b: 'c' } },
  };
  assert.deepEqual(configDetails(config), {
    ...{ platform: 'linux/arm64', created: '2026-01-02 03:04', command: '/e a' },
    labels: [['b', 'c']],
  });
});

describe('what a registry writes is text', () => {
  test('in details', () => {
    const html = detailsView({
      platforms: platformsOf({ manifests: [{ platform: { os: HOSTILE, architecture: 'amd64' } }] }),
      ...{ platform: HOSTILE, digest: HOSTILE, created: HOSTILE, command: HOSTILE },
      labels: [[HOSTILE, HOSTILE]],
      layers: [{ digest: HOSTILE, size: 1, isShared: false }],
    })
      .map(toHtml)
      .join('');
    assert.doesNotMatch(html, /<img|<script|\u202E/);
    assert.match(html, /\\u202e/);
  });

  test('in progress', () => {
    const status = readPreparation({
      state: 'failed',
      error: { line: HOSTILE },
      layerProgress: [{ digest: HOSTILE }],
    });
    assert.doesNotMatch(progressView(status, { perSecond: 1 }).map(toHtml).join(''), /<img|<script/);
  });

  test('of any form', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        detailsView({
          platforms: platformsOf(value),
          ...configDetails(value),
          ...comparedLayers(value),
          layers: layersOf(value),
        }).map(toHtml);
      }),
    );
  });

  test('ten thousand labels are cut, and counted', () => {
    const labels = Array.from({ length: 10_000 }, (_, at) => [`l${at}`, 'x'] as const);
    const html = detailsView({ platforms: [], labels, layers: [] }).map(toHtml).join('');
    assert.match(html, /and 9970 more/);
    assert.ok(html.length < 10_000, `${html.length}`);
  });

  test('a million layers are cut, and counted', () => {
    const layers = layersOf({ layers: Array.from({ length: 1_000_000 }, () => ({})) });
    const html = detailsView({ platforms: [], labels: [], layers }).map(toHtml).join('');
    assert.match(html, /and 999800 more/);
    assert.equal(html.match(/<tr/g)?.length, 201);
  });

  test('ten thousand platforms are cut', () => {
    const manifests = Array.from({ length: 10_000 }, (_, at) => ({
      platform: { os: 'windows', architecture: 'amd64', 'os.version': `10.0.${at}.1` },
    }));
    const found = platformsOf({ manifests });
    assert.deepEqual([found.length, found.at(-1)], [60, 'windows(10.0.59.1)/amd64']);
  });
});

test('without an image for the platform only the platforms are shown', () => {
  const html = detailsView({ platforms: ['linux/arm64'], labels: [] })
    .map(toHtml)
    .join('');
  assert.match(html, /data-platform="linux\/arm64"/);
  assert.doesNotMatch(html, /<dl|<table|Labels/);
});

describe('tags that fit', () => {
  const table: readonly [typed: string, tags: readonly string[], found: readonly string[]][] = [
    ['', ['1.9', '1.25', '1.10'], ['1.25', '1.10', '1.9']],
    ['1.2', ['1.25-alpine', 'x1.25', '1.25', '2'], ['1.25-alpine', '1.25', 'x1.25']],
    ['z', ['a'], []],
    ['', ['<b>', 'javascript:alert(1)', 'a b', '\u202E1', 'ok', ''], ['ok']],
  ];
  for (const [typed, tags, found] of table) {
    test(`"${typed}" in ${tags}`, () => assert.deepEqual(fittingTags(tags, typed), found));
  }

  test('are few, also of 10 MB', () => {
    const tags = Array.from({ length: 700_000 }, (_, at) => `v1.0.${at}-build`);
    assert.equal(fittingTags(tags, 'v1').length, 50);
    assert.deepEqual(fittingTags(tags, 'v1.0.699999-b'), ['v1.0.699999-build']);
  });
});
