import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { drawBars } from '../../../src/cli/progress/bars.ts';
import type { Progress } from '../../../src/pull/progress.ts';
import { formatClock, formatSeconds } from '../../../src/util/progress/format-time.ts';
import { Rate } from '../../../src/util/progress/rate.ts';
import { formatBytes } from '../../../src/util/text/format-bytes.ts';

const PLAIN = { colour: (text: string) => text };

const PROGRESS: Progress = {
  step: 'fetching',
  layers: { done: 1, total: 3 },
  bytes: { done: 5_000_000, total: 20_000_000 },
  inFlight: [
    { digest: 'sha256:0123456789abcdef', done: 1_000_000, total: 4_000_000 },
    { digest: 'sha256:fedcba9876543210', done: 0, total: 6_000_000 },
  ],
};

describe('the bars', () => {
  test('are one for each layer in flight, and one for the whole with rate and time left', () => {
    assert.deepEqual(drawBars(PROGRESS, 3_000_000, { ...PLAIN, width: 120 }), [
      '0123456789ab [==========                              ]  25% 1.00 MB / 4.00 MB',
      'fedcba987654 [                                        ]   0% 0 B / 6.00 MB',
      'layers 1/3   [==========                              ]  25% 5.00 MB / 20.0 MB 3.00 MB/s, 0:05 left',
    ]);
  });

  test('fit into any width', () => {
    for (let width = 1; width <= 200; width += 1) {
      for (const line of drawBars(PROGRESS, 123_456_789, { ...PLAIN, width }))
        assert.ok(line.length < Math.max(width, 1), `${width}: ${line}`);
    }
  });

  test('give way to the numbers on a narrow terminal', () => {
    assert.deepEqual(drawBars(PROGRESS, undefined, { ...PLAIN, width: 40 }), [
      '0123456789ab  25% 1.00 MB / 4.00 MB',
      'fedcba987654   0% 0 B / 6.00 MB',
      'layers 1/3    25% 5.00 MB / 20.0 MB',
    ]);
  });

  test('name the step while nothing is fetched', () => {
    const waiting = { ...PROGRESS, step: 'waiting', inFlight: [], bytes: { done: 0, total: 0 } } as const;
    assert.deepEqual(drawBars(waiting, undefined, { ...PLAIN, width: 40 }), [
      'waiting      [         ]   0% 0 B / 0 B',
    ]);
  });

  test('colour the filled part only', () => {
    const colour = (text: string) => `<${text}>`;
    assert.match(drawBars(PROGRESS, undefined, { width: 120, colour })[0] ?? '', / \[<=+> +\] /);
  });
});

describe('numbers', () => {
  const bytes: readonly [number, string][] = [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.00 kB'],
    [9_994, '9.99 kB'],
    [9_995, '10.0 kB'],
    [99_949, '99.9 kB'],
    [99_950, '100 kB'],
    [999_499, '999 kB'],
    [999_500, '1.00 MB'],
    [1_234_567_890, '1.23 GB'],
    [5_000_000_000_000_000, '5000 TB'],
  ];
  for (const [value, text] of bytes) test(`${value} bytes`, () => assert.equal(formatBytes(value), text));

  const seconds: readonly [number, string, string][] = [
    [0, '0.0 s', '0:00'],
    [4.46, '4.5 s', '0:04'],
    [59.94, '59.9 s', '1:00'],
    [59.96, '1:00', '1:00'],
    [125, '2:05', '2:05'],
    [3725, '1:02:05', '1:02:05'],
  ];
  for (const [value, duration, clock] of seconds) {
    test(`${value} seconds`, () =>
      assert.deepEqual([formatSeconds(value), formatClock(value)], [duration, clock]));
  }
});

test('the rate is that of the last five seconds', () => {
  const rate = new Rate();
  assert.equal(rate.perSecond, undefined);
  rate.add(0, 0);
  assert.equal(rate.perSecond, undefined);
  rate.add(1000, 500);
  assert.equal(rate.perSecond, 500);
  rate.add(10_000, 9500);
  rate.add(12_000, 11_500);
  assert.equal(rate.perSecond, 1000);
});
