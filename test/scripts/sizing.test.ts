import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { estimate, type Figures, type Plan } from '../../scripts/bench/sizing/estimate.ts';
import { FlowGroup, type Link, shareLinks } from '../../scripts/bench/sizing/flows.ts';
import { MinHeap } from '../../scripts/bench/sizing/min-heap.ts';
import { type Outcome, type Scenario, simulate } from '../../scripts/bench/sizing/simulate.ts';
import { parseBytes, parseRate, showBytes, showRate, showSeconds } from '../../scripts/bench/sizing/units.ts';

test('a heap gives its values in the order of their keys', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (keys) => {
      const heap = new MinHeap<number>();
      for (const key of keys) heap.push(key, key);
      const sorted = keys.toSorted((one, other) => one - other);
      for (const key of sorted) {
        assert.equal(heap.smallest, key);
        assert.equal(heap.pop(), key);
      }
      assert.equal(heap.smallest, Number.POSITIVE_INFINITY);
      assert.equal(heap.pop(), undefined);
    }),
  );
});

describe('links', () => {
  const TABLE: readonly {
    readonly name: string;
    /** Flows of each group, their limit, and whether they pass a link of 60 and one of 100. */
    readonly groups: readonly (readonly [flows: number, limit: number, narrow: boolean, wide: boolean])[];
    readonly rates: readonly number[];
  }[] = [
    { name: 'a limit below the share counts', groups: [[2, 10, true, true]], rates: [10] },
    { name: 'a full link is shared equally', groups: [[3, 50, true, false]], rates: [20] },
    {
      name: 'what limited flows leave goes to others',
      groups: [
        [1, 10, true, false],
        [1, 99, true, false],
      ],
      rates: [10, 50],
    },
    {
      name: 'what a narrow link holds back goes to others on the wide one',
      groups: [
        [3, 99, true, true],
        [1, 99, false, true],
      ],
      rates: [20, 40],
    },
    {
      name: 'a group without flows takes nothing',
      groups: [
        [0, 99, true, false],
        [2, 99, true, false],
      ],
      rates: [0, 30],
    },
  ];
  for (const { name, groups, rates } of TABLE) {
    test(name, () => {
      const narrow: Link = { bytesPerSecond: 60 };
      const wide: Link = { bytesPerSecond: 100 };
      const made = groups.map(([flows, limit, isNarrow, isWide]) => {
        const group = new FlowGroup([...(isNarrow ? [narrow] : []), ...(isWide ? [wide] : [])], limit);
        for (let flow = 0; flow < flows; flow += 1) group.add({ bytes: 1, reached: () => undefined });
        return group;
      });
      shareLinks(made);
      assert.deepEqual(
        made.map(({ rate }) => rate),
        rates,
      );
    });
  }
});

/** One replica, one image of 1000 bytes that is pulled in 10 s, and devices that read it in 10 s. */
const SCENARIO: Scenario = {
  devices: 1,
  startSeconds: 0,
  replicas: 1,
  replica: {
    maxConnections: 100,
    places: 1,
    maxQueued: 1,
    queueSeconds: 1000,
    sendBytesPerSecond: 1e6,
    pullBytesPerSecond: 50,
  },
  placeOf: () => ({ image: 0, replica: 0 }),
  compressedBytes: 500,
  archiveBytes: 1000,
  clientBytesPerSecond: 100,
  siteBytesPerSecond: 1e6,
  upstreamBytesPerSecond: 1e6,
  retrySeconds: { connections: 60, queue: 15 },
  tries: Number.POSITIVE_INFINITY,
};

const { replica: REPLICA } = SCENARIO;
const EACH_ITS_IMAGE: Scenario['placeOf'] = (device) => ({ image: device, replica: 0 });

describe('a simulated window', () => {
  const TABLE: readonly [name: string, changes: Partial<Scenario>, expected: Partial<Outcome>][] = [
    ['a first pull, then the download', {}, { lastSeconds: 20, pulls: 1, peakConnections: 1 }],
    [
      'devices that start together share the pull',
      { devices: 5 },
      { lastSeconds: 20, pulls: 1, peakConnections: 5, peakBytesPerSecond: 500, refused: 0 },
    ],
    [
      'later devices do not wait for the pull',
      { devices: 2, startSeconds: 200 },
      { deviceSeconds: [10, 20], lastSeconds: 110 },
    ],
    ['a narrow site delays all', { devices: 4, siteBytesPerSecond: 200 }, { lastSeconds: 30 }],
    [
      'a replica that sends too little delays all',
      { devices: 4, replica: { ...REPLICA, sendBytesPerSecond: 100 } },
      { lastSeconds: 50 },
    ],
    [
      'each replica pulls, and they share the line of the registry',
      {
        devices: 2,
        replicas: 2,
        placeOf: (device) => ({ image: 0, replica: device }),
        upstreamBytesPerSecond: 50,
      },
      { lastSeconds: 30, pulls: 2, peakConnections: 1 },
    ],
    [
      'above MAX_CONNECTIONS devices come back when Retry-After says',
      { devices: 3, replica: { ...REPLICA, maxConnections: 2 } },
      { deviceSeconds: [20, 20, 70], refused: 1, gaveUp: 0, peakConnections: 2 },
    ],
    [
      'devices that give up are counted',
      { devices: 3, replica: { ...REPLICA, maxConnections: 2 }, tries: 1 },
      { deviceSeconds: [20, 20], refused: 1, gaveUp: 1 },
    ],
    [
      'a connection is in use until the last byte',
      { devices: 2, startSeconds: 30, replica: { ...REPLICA, maxConnections: 1 } },
      { deviceSeconds: [20, 70], refused: 1 },
    ],
    [
      'an image without a place waits for one',
      { devices: 2, placeOf: EACH_ITS_IMAGE },
      { deviceSeconds: [20, 30], pulls: 2, refused: 0 },
    ],
    [
      'a full queue refuses',
      { devices: 3, placeOf: EACH_ITS_IMAGE },
      { deviceSeconds: [20, 30, 40], pulls: 3, refused: 1 },
    ],
    [
      'a wait in the queue ends at QUEUE_TIMEOUT',
      { devices: 2, placeOf: EACH_ITS_IMAGE, replica: { ...REPLICA, queueSeconds: 5 } },
      { deviceSeconds: [20, 40], pulls: 2, refused: 1 },
    ],
  ];
  for (const [name, changes, expected] of TABLE) {
    test(name, () => {
      const outcome = simulate({ ...SCENARIO, ...changes });
      const shown = Object.keys(expected).map((key) => [key, outcome[key as keyof Outcome]]);
      assert.deepEqual(Object.fromEntries(shown), expected);
    });
  }

  test('every device has the image or gives up, whatever the limits are', () => {
    const limits = fc.record({
      devices: fc.integer({ min: 1, max: 60 }),
      startSeconds: fc.integer({ min: 0, max: 300 }),
      images: fc.integer({ min: 1, max: 6 }),
      replicas: fc.integer({ min: 1, max: 3 }),
      maxConnections: fc.integer({ min: 1, max: 20 }),
      places: fc.integer({ min: 1, max: 3 }),
      maxQueued: fc.integer({ min: 0, max: 3 }),
      queueSeconds: fc.integer({ min: 1, max: 40 }),
      tries: fc.integer({ min: 1, max: 5 }),
      siteBytesPerSecond: fc.integer({ min: 50, max: 5000 }),
    });
    fc.assert(
      fc.property(limits, ({ images, maxConnections, places, maxQueued, queueSeconds, ...rest }) => {
        const outcome = simulate({
          ...SCENARIO,
          ...rest,
          replica: { ...REPLICA, maxConnections, places, maxQueued, queueSeconds },
          placeOf: (device) => ({ image: device % images, replica: (device % images) % rest.replicas }),
        });
        assert.equal(outcome.deviceSeconds.length + outcome.gaveUp, rest.devices);
        assert.ok(outcome.peakConnections <= maxConnections);
        assert.ok(outcome.pulls <= images);
        assert.ok(outcome.peakBytesPerSecond <= rest.siteBytesPerSecond * (1 + 1e-9));
        // 10 s is the fastest download.
        assert.ok(outcome.deviceSeconds.every((seconds) => seconds > 9.99));
      }),
      { numRuns: 200 },
    );
  });
});

describe('an estimate', () => {
  const FIGURES: Figures = {
    sendBytesPerSecond: 1000,
    sendCpuSecondsPerByte: 0.0001,
    slowCpuSecondsPerByte: 0.001,
    requestCpuSeconds: 0.5,
    pullSecondsPerByte: 0.1,
    pullCpuSecondsPerByte: 0.2,
    diskBytesPerByte: 1.5,
    peakBytes: 10_000,
    clientBytes: 30,
    bufferedBytes: 70,
  };
  /** A pull of 10 s, and downloads of 20 s. */
  const PLAN: Plan = {
    devices: 10,
    compressedBytes: 40,
    uncompressedBytes: 100,
    windowSeconds: 130,
    clientBytesPerSecond: 5,
    replicaBytesPerSecond: 500,
    maxConnections: 100,
  };

  test('counts bytes, time, connections and costs', () => {
    assert.deepEqual(estimate(PLAN, FIGURES), {
      devices: 10,
      sentBytes: 1000,
      pulledBytes: 40,
      startSeconds: 100,
      bytesPerSecond: 10,
      connections: 2,
      replicas: 1,
      diskBytes: 150,
      memoryBytes: 10_060,
      bufferedBytes: 140,
      cores: 0.01 + 0.05,
      pullCpuSeconds: 20,
    });
  });

  const REPLICAS: readonly [name: string, changes: Partial<Plan>, replicas: number, connections: number][] = [
    ['connections', { devices: 2000 }, 4, 400],
    ['the network', { devices: 2000, maxConnections: 1000, replicaBytesPerSecond: 250 }, 8, 400],
    [
      'what the processor sends',
      { devices: 2000, maxConnections: 1000, replicaBytesPerSecond: 9000 },
      2,
      400,
    ],
    ['no more downloads than devices', { windowSeconds: 35 }, 1, 10],
  ];
  for (const [name, changes, replicas, connections] of REPLICAS) {
    test(`replicas and connections: ${name}`, () => {
      const result = estimate({ ...PLAN, ...changes }, FIGURES);
      assert.deepEqual([result.replicas, result.connections], [replicas, connections]);
    });
  }

  test('a window that is shorter than one download is refused', () => {
    assert.throws(() => estimate({ ...PLAN, windowSeconds: 30 }, FIGURES), /longer than the window/);
  });
});

describe('units', () => {
  const SIZES: readonly [text: string, bytes: number][] = [
    ['1B', 1],
    ['270MB', 270e6],
    ['1.5GB', 1.5e9],
    ['2TB', 2e12],
  ];
  for (const [text, bytes] of SIZES) {
    test(`${text} is ${bytes} bytes`, () => assert.equal(parseBytes(text), bytes));
  }
  const RATES: readonly [text: string, bytesPerSecond: number][] = [
    ['64kbit', 8_000],
    ['8Mbit', 1e6],
    ['2.5Gbit', 312.5e6],
  ];
  for (const [text, bytesPerSecond] of RATES) {
    test(`${text} is ${bytesPerSecond} bytes a second`, () => assert.equal(parseRate(text), bytesPerSecond));
  }
  for (const text of ['', '8', 'MB', '0MB', '-1MB', '1e3MB', '8Mbit', '1toString']) {
    test(`${JSON.stringify(text)} is no size`, () => assert.throws(() => parseBytes(text), /Cannot read/));
  }
  test('values have three digits and the largest unit that fits', () => {
    assert.deepEqual(
      [
        showBytes(13.5e12),
        showBytes(999),
        showRate(125),
        showSeconds(90),
        showSeconds(14_300),
        showSeconds(0.5),
      ],
      ['13.5 TB', '999 B', '1 kbit/s', '1.5 min', '3.97 h', '0.5 s'],
    );
  });
});
