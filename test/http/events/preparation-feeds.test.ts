import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { type FeedEvent, PreparationFeeds } from '../../../src/http/events/preparation-feeds.ts';
import { Preparations, type PreparationWork } from '../../../src/pull/preparations.ts';

const SUBJECT = {
  path: '/docker/app_1.tar',
  layout: 'docker',
  platform: 'all',
  images: ['registry.example/app:1'],
} as const;

/** Receives nothing. */
const DEAF = { receive: () => undefined };

/** A preparation that does what the test says, and its feed. */
function startFeed() {
  const preparations = new Preparations();
  let report: (bytes: number) => void = () => undefined;
  const { promise, resolve } = Promise.withResolvers<void>();
  const work: PreparationWork = (_, onProgress) => {
    report = (done) =>
      onProgress({ step: 'fetching', layers: { done: 0, total: 1 }, bytes: { done, total: 100 } });
    return promise;
  };
  const { preparation, ended } = preparations.start(SUBJECT, work);
  const feeds = new PreparationFeeds({
    preparations,
    encode: ({ state, progress }) => `${state} ${progress.bytes.done}`,
    intervalMs: 250,
    heartbeatMs: 15_000,
  });
  const finish = async () => {
    resolve();
    await ended;
  };
  return { preparations, feeds, id: preparation.id, report: (bytes: number) => report(bytes), finish };
}

/** What an event says. */
function dataOf({ kind, bytes }: FeedEvent): string {
  return kind === 'heartbeat' ? kind : (/\ndata: (.*)\n\n$/.exec(bytes.toString())?.[1] ?? '');
}

/** Runs a test while time stands still. */
function atRest(name: string, body: (pass: (ms: number) => void) => Promise<void>): void {
  test(name, async () => {
    let now = 0;
    const clock = mock.method(performance, 'now', () => now);
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    try {
      await body((ms) => {
        now += ms;
        mock.timers.tick(ms);
      });
    } finally {
      clock.mock.restore();
      mock.timers.reset();
    }
  });
}

describe('the feed of a preparation', () => {
  atRest(
    'sends the first change at once, then the latest of each interval, and the end at once',
    async (pass) => {
      const { feeds, id, report, finish } = startFeed();
      const seen: string[] = [];
      using subscription = feeds.subscribe(id, { receive: (event) => seen.push(dataOf(event)) });
      assert.equal(subscription && dataOf(subscription.present()), 'resolving 0');
      assert.deepEqual(seen, []);
      report(1);
      report(2);
      report(3);
      assert.deepEqual(seen, ['fetching 1']);
      pass(249);
      report(4);
      assert.deepEqual(seen, ['fetching 1']);
      pass(1);
      assert.deepEqual(seen, ['fetching 1', 'fetching 4']);
      pass(1000);
      assert.deepEqual(seen, ['fetching 1', 'fetching 4'], 'nothing has changed');
      report(5);
      report(6);
      await finish();
      pass(1000);
      assert.deepEqual(seen.slice(2), ['fetching 5', 'done 6']);
    },
  );

  atRest('has an ID that grows with each state', async (pass) => {
    const { feeds, id, report, finish } = startFeed();
    const ids: number[] = [];
    const idOf = ({ bytes }: FeedEvent) => Number(/\nid: (\d+)\n/.exec(bytes.toString())?.[1]);
    using first = feeds.subscribe(id, { receive: (event) => ids.push(idOf(event)) });
    ids.push(first ? idOf(first.present()) : 0);
    for (let bytes = 1; bytes < 4; bytes += 1) {
      report(bytes);
      pass(250);
    }
    first?.[Symbol.dispose]();
    report(4);
    using second = feeds.subscribe(id, { receive: (event) => ids.push(idOf(event)) });
    ids.push(second ? idOf(second.present()) : 0);
    await finish();
    assert.equal(ids.length, 6);
    for (const [at, one] of ids.entries()) assert.ok(at === 0 || one > (ids[at - 1] ?? one), ids.join());
  });

  atRest('makes the bytes of an event once for all', async () => {
    const { feeds, id, report } = startFeed();
    const seen: FeedEvent[] = [];
    using one = feeds.subscribe(id, { receive: (event) => seen.push(event) });
    using two = feeds.subscribe(id, { receive: (event) => seen.push(event) });
    assert.equal(one?.present(), two?.present());
    report(1);
    assert.equal(seen.length, 2);
    assert.equal(seen[0], seen[1]);
  });

  atRest(
    'gives a sign of life while nothing changes, and none after the last client has left',
    async (pass) => {
      const { feeds, id } = startFeed();
      const seen: string[] = [];
      const subscription = feeds.subscribe(id, { receive: (event) => seen.push(dataOf(event)) });
      pass(14_999);
      assert.deepEqual(seen, []);
      pass(1);
      pass(15_000);
      assert.deepEqual(seen, ['heartbeat', 'heartbeat']);
      subscription?.[Symbol.dispose]();
      pass(60_000);
      assert.equal(seen.length, 2);
    },
  );

  atRest(
    'keeps the last state for those who have not read it when the preparation is forgotten',
    async () => {
      const { feeds, id, finish, preparations } = startFeed();
      using subscription = feeds.subscribe(id, DEAF);
      await finish();
      assert.equal(await preparations.cancel(id), true);
      assert.equal(preparations.find(id), undefined);
      assert.equal(subscription && dataOf(subscription.present()), 'done 0');
      assert.equal(feeds.subscribe('other', DEAF), undefined);
    },
  );

  test('gives the latest state to all, also when it changes while they get another', async () => {
    const { feeds, id, report, finish } = startFeed();
    const CLIENTS = 120;
    const seen = Array.from({ length: CLIENTS }, (): string[] => []);
    const last = Promise.withResolvers<void>();
    let left = CLIENTS;
    for (const states of seen) {
      feeds.subscribe(id, {
        receive: (event) => {
          states.push(dataOf(event));
          if (event.kind === 'last') left -= 1;
          if (left === 0) last.resolve();
        },
      });
    }
    report(1);
    report(2);
    await finish();
    await last.promise;
    for (const states of seen) {
      assert.equal(states.at(-1), 'done 2');
      assert.ok(['fetching 1,done 2', 'done 2'].includes([...new Set(states)].join()), states.join());
    }
  });
});
