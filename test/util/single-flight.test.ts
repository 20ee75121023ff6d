import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type JoinOptions, SingleFlight } from '../../src/util/single-flight.ts';
import { within } from '../support/within.ts';

const NEVER = new AbortController().signal;

/** Work that is done by hand. */
interface Work {
  readonly signal: AbortSignal;
  readonly report: (report: string) => void;
  land(value: string): void;
  crash(error: Error): void;
}

/** What is asked for in a test, and all that came of it. */
function byHand() {
  const closed: string[] = [];
  const works: Work[] = [];
  const shared = new SingleFlight<string, string, string>((value) => closed.push(value));
  const produce: JoinOptions<string, string>['produce'] = (signal, report) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    works.push({ signal, report, land: resolve, crash: reject });
    return promise;
  };
  const join = (options: Partial<JoinOptions<string, string>> = {}, key = 'a') =>
    shared.join(key, { signal: NEVER, produce, ...options });
  const run = (signal = NEVER, key = 'a') => shared.run(key, signal, produce);
  /** The work that was begun as the so-many-th, counted from 0. */
  const work = (index: number): Work => {
    const found = works[index];
    assert.ok(found, `work ${index} was not begun`);
    return found;
  };
  return { shared, closed, works, work, join, run };
}

/** @returns when everything has happened that waits for nothing but promises */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('work is done once', () => {
  test('for all who ask for it at once', async () => {
    const { works, work, run } = byHand();
    const asked = [run(), run(), run()];
    work(0).land('value');
    assert.deepEqual(await Promise.all(asked), ['value', 'value', 'value']);
    assert.equal(works.length, 1);
  });

  test('for each key', async () => {
    const { work, run } = byHand();
    const asked = [run(NEVER, 'a'), run(NEVER, 'b')];
    work(0).land('of a');
    work(1).land('of b');
    assert.deepEqual(await Promise.all(asked), ['of a', 'of b']);
  });

  test('and anew for who comes when it is over, and nobody holds what came of it', async () => {
    const { works, work, run, shared } = byHand();
    for (const [index, value] of ['first', 'second'].entries()) {
      const asked = run();
      assert.equal(shared.has('a'), true);
      work(index).land(value);
      assert.equal(await asked, value);
      assert.equal(shared.has('a'), false);
    }
    assert.equal(works.length, 2);
  });

  test('and begins at once, also where it fails at once', async () => {
    const { shared } = byHand();
    const failure = new Error('at once');
    const asked = shared.run('a', NEVER, () => {
      throw failure;
    });
    await assert.rejects(asked, failure);
    assert.equal(shared.has('a'), false);
  });

  test('and not at all for who has left already', async () => {
    const { works, run } = byHand();
    await assert.rejects(run(AbortSignal.abort(new Error('left'))), /left/);
    assert.equal(works.length, 0);
  });
});

describe('a failure', () => {
  test('reaches all who wait, and the next asker begins anew', async () => {
    const { work, run } = byHand();
    const asked = [run(), run()];
    work(0).crash(new Error('crashed'));
    for (const one of asked) await assert.rejects(one, /crashed/);
    const again = run();
    work(1).land('value');
    assert.equal(await again, 'value');
  });

  test('closes nothing', async () => {
    const { work, run, closed } = byHand();
    const asked = run();
    work(0).crash(new Error('crashed'));
    await assert.rejects(asked, /crashed/);
    await turn();
    assert.deepEqual(closed, []);
  });
});

describe("a failure that is the owner's alone", () => {
  const isPersonal = (error: unknown) => error instanceof Error && error.message === 'denied';

  test('makes the others begin anew: together, and one of them for all', async () => {
    const { works, work, join } = byHand();
    const asked = [1, 2, 3].map(() => join({ isPersonal }));
    work(0).crash(new Error('denied'));
    await assert.rejects(asked[0] ?? Promise.resolve(), /denied/);
    work(1).land('value');
    const origins = (await Promise.all(asked.slice(1))).map(({ value, origin }) => [value, origin]);
    assert.deepEqual(origins, [
      ['value', 'produced'],
      ['value', 'joined'],
    ]);
    assert.equal(works.length, 2);
  });

  test('reaches each of them in the end, where their own work fails too', async () => {
    const { works, work, join } = byHand();
    const asked = [1, 2, 3].map(() => join({ isPersonal }));
    for (const [index, one] of asked.entries()) {
      assert.equal(works.length, index + 1);
      work(index).crash(new Error('denied'));
      await assert.rejects(one, /denied/);
      await turn();
    }
    assert.equal(works.length, 3);
  });

  test('reaches who does not tell it from others', async () => {
    const { works, work, join } = byHand();
    const asked = [join({ isPersonal }), join()];
    work(0).crash(new Error('denied'));
    for (const one of asked) await assert.rejects(one, /denied/);
    assert.equal(works.length, 1);
  });

  test('is no other failure', async () => {
    const { works, work, join } = byHand();
    const asked = [join({ isPersonal }), join({ isPersonal })];
    work(0).crash(new Error('crashed'));
    for (const one of asked) await assert.rejects(one, /crashed/);
    assert.equal(works.length, 1);
  });

  test('makes nobody begin who has left meanwhile', async () => {
    const { works, work, join } = byHand();
    const leaver = new AbortController();
    const asked = [join({ isPersonal }), join({ isPersonal, signal: leaver.signal })];
    work(0).crash(new Error('denied'));
    leaver.abort(new Error('left'));
    for (const one of asked) await assert.rejects(one);
    await turn();
    assert.equal(works.length, 1);
  });
});

describe('an asker leaves', () => {
  test('at once, and the others still get what it began', async () => {
    const { works, work, run } = byHand();
    const first = new AbortController();
    const leaving = run(first.signal);
    const staying = run();
    first.abort(new Error('left'));
    await assert.rejects(leaving, /left/);
    assert.equal(work(0).signal.aborted, false);
    work(0).land('value');
    assert.equal(await staying, 'value');
    assert.equal(works.length, 1);
  });

  test('as the last: the work is aborted for its reason, and the next asker begins anew', async () => {
    const { work, run } = byHand();
    const leavers = [new AbortController(), new AbortController()];
    const [one, other] = leavers.map(({ signal }) => run(signal));
    leavers[0]?.abort(new Error('left'));
    await assert.rejects(one ?? Promise.resolve(), /left/);
    assert.equal(work(0).signal.aborted, false);
    const reason = new Error('left too');
    leavers[1]?.abort(reason);
    await turn();
    assert.equal(work(0).signal.reason, reason);

    const later = run();
    // What the abandoned work comes to is nobody's, and must not be told to the later asker.
    work(0).crash(new Error('aborted'));
    await assert.rejects(other ?? Promise.resolve(), reason);
    work(1).land('value');
    assert.equal(await later, 'value');
  });

  test('as the last, and is told so when the work that it stops has ended', async () => {
    for (const end of ['land', 'crash'] as const) {
      const { work, join } = byHand();
      const leaver = new AbortController();
      let isTold = false;
      const leaving = join({ signal: leaver.signal }).finally(() => {
        isTold = true;
      });
      leaver.abort(new Error('left'));
      await turn();
      assert.equal(isTold, false);
      if (end === 'land') work(0).land('late');
      else work(0).crash(new Error('aborted'));
      await assert.rejects(leaving, /left/);
    }
  });

  test('as the last, and a result that comes all the same is closed; the next asker has its own', async () => {
    const { shared, work, join, closed } = byHand();
    const leaver = new AbortController();
    const leaving = join({ signal: leaver.signal });
    leaver.abort(new Error('left'));
    await turn();
    const later = join();
    work(0).land('late');
    work(1).land('own');
    await assert.rejects(leaving, /left/);
    const share = await later;
    await turn();
    assert.deepEqual([share.value, share.origin, closed], ['own', 'produced', ['late']]);
    assert.equal(shared.has('a'), true);
    share.release();
    assert.deepEqual(closed, ['late', 'own']);
  });

  test('in the moment in which the result comes: it is closed once', async () => {
    for (const isLandedFirst of [true, false]) {
      const { work, join, closed } = byHand();
      const leaver = new AbortController();
      const leaving = join({ signal: leaver.signal });
      if (isLandedFirst) work(0).land('value');
      leaver.abort(new Error('left'));
      if (!isLandedFirst) work(0).land('value');
      await leaving.then(
        ({ release }) => release(),
        (error: Error) => assert.equal(error.message, 'left'),
      );
      await turn();
      assert.deepEqual(closed, ['value'], isLandedFirst ? 'landed, then left' : 'left, then landed');
    }
  });

  test('that has its result already, and keeps it until it releases it', async () => {
    const { work, join, closed } = byHand();
    const leaver = new AbortController();
    const asked = join({ signal: leaver.signal });
    work(0).land('value');
    const share = await asked;
    leaver.abort(new Error('left'));
    await turn();
    assert.deepEqual(closed, []);
    assert.equal(work(0).signal.aborted, false);
    share.release();
    assert.deepEqual(closed, ['value']);
  });

  test('while its own work begins', async () => {
    const { shared } = byHand();
    const leaver = new AbortController();
    const working = Promise.withResolvers<string>();
    const asked = shared.run('a', leaver.signal, (signal) => {
      signal.addEventListener('abort', () => working.reject(new Error('aborted')));
      leaver.abort(new Error('left'));
      return working.promise;
    });
    await assert.rejects(within(asked, 'the asker'), /left/);
    await assert.rejects(working.promise, /aborted/);
  });
});

describe('a result', () => {
  test('tells each asker how it came to it', async () => {
    const { works, work, join } = byHand();
    const asked = [join(), join()];
    work(0).land('value');
    const early = await Promise.all(asked);
    const late = await join();
    assert.deepEqual(
      [...early, late].map(({ origin, value }) => [origin, value]),
      [
        ['produced', 'value'],
        ['joined', 'value'],
        ['held', 'value'],
      ],
    );
    assert.equal(works.length, 1);
  });

  test('is closed once, with the last release, and is not given after that', async () => {
    const { shared, work, join, closed } = byHand();
    const asked = [join(), join()];
    work(0).land('value');
    const [one, other] = await Promise.all(asked);
    const late = await join();
    one?.release();
    late.release();
    assert.deepEqual([closed, shared.has('a')], [[], true]);
    other?.release();
    assert.deepEqual([closed, shared.has('a')], [['value'], false]);
    for (const share of [one, other, late]) share?.release();
    assert.deepEqual(closed, ['value']);

    const again = join();
    work(1).land('another');
    assert.equal((await again).origin, 'produced');
  });

  test("is not taken from the others by one's releasing twice", async () => {
    const { work, join, closed } = byHand();
    const asked = [join(), join()];
    work(0).land('value');
    const [one] = await Promise.all(asked);
    one?.release();
    one?.release();
    assert.deepEqual(closed, []);
    assert.equal((await join()).origin, 'held');
  });

  test('may be nothing', async () => {
    const closed: undefined[] = [];
    const shared = new SingleFlight<string, undefined>((value) => closed.push(value));
    const options = { signal: NEVER, produce: async () => undefined };
    const share = await shared.join('a', options);
    assert.equal((await shared.join('a', options)).origin, 'held');
    share.release();
    assert.deepEqual(closed, []);
  });

  test('that is forgotten stays with who holds it, and the next asker begins anew', async () => {
    const { shared, work, join, closed } = byHand();
    const first = join();
    work(0).land('old');
    const old = await first;
    shared.forget('a');
    assert.equal(shared.has('a'), false);
    const next = join();
    work(1).land('new');
    const fresh = await next;
    assert.deepEqual([fresh.value, fresh.origin, closed], ['new', 'produced', []]);
    old.release();
    assert.deepEqual(closed, ['old']);
    const held = await join();
    assert.deepEqual([held.value, held.origin], ['new', 'held']);
    fresh.release();
    held.release();
    assert.deepEqual(closed, ['old', 'new']);
  });

  test('is closed once, and while nobody holds it, in whatever order things happen', async () => {
    const step = fc.record({
      act: fc.constantFrom('join', 'join', 'leave', 'release', 'land', 'crash', 'forget'),
      nth: fc.nat(5),
      turns: fc.nat(4),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { shared, works, join, closed } = byHand();
        const landed: string[] = [];
        const ended = new Set<Work>();
        const waiting: AbortController[] = [];
        const held: { value: string; release(): void }[] = [];
        const acts = {
          join: () => {
            const leaver = new AbortController();
            waiting.push(leaver);
            join({ signal: leaver.signal }).then(
              (share) => {
                assert.ok(!closed.includes(share.value), 'a closed result was given');
                held.push(share);
              },
              () => undefined,
            );
          },
          leave: (nth: number) => waiting[nth % waiting.length]?.abort(new Error('left')),
          release: (nth: number) => {
            const [share] = held.splice(nth % Math.max(held.length, 1), 1);
            assert.ok(share === undefined || !closed.includes(share.value), 'a held result was closed');
            share?.release();
          },
          land: (nth: number) => {
            const work = works.filter((one) => !ended.has(one))[nth];
            if (work === undefined) return;
            ended.add(work);
            landed.push(`value ${landed.length}`);
            work.land(landed.at(-1) ?? '');
          },
          crash: (nth: number) => {
            const work = works.filter((one) => !ended.has(one))[nth];
            if (work === undefined) return;
            ended.add(work);
            work.crash(new Error('crashed'));
          },
          forget: () => shared.forget('a'),
        };
        for (const { act, nth, turns } of steps) {
          acts[act](nth);
          for (let count = 0; count < turns; count += 1) await undefined;
        }
        await turn();
        for (const leaver of waiting) leaver.abort(new Error('left'));
        while (works.some((one) => !ended.has(one))) acts.land(0);
        await turn();
        while (held.length > 0) acts.release(0);
        assert.deepEqual(closed.toSorted(), landed.toSorted());
        assert.equal(shared.has('a'), false);
      }),
      { numRuns: 300 },
    );
  });
});

describe('how far the work is', () => {
  test('is told to all who wait, and to who comes later what was told last', async () => {
    const { work, join } = byHand();
    const told: Record<string, string[]> = { first: [], second: [], late: [] };
    const listen = (who: string) => ({ onReport: (report: string) => told[who]?.push(report) });
    const asked = [join(listen('first')), join(listen('second'))];
    work(0).report('one');
    work(0).report('two');
    asked.push(join(listen('late')));
    work(0).report('three');
    work(0).land('value');
    await Promise.all(asked);
    work(0).report('after the end');
    assert.deepEqual(told, {
      first: ['one', 'two', 'three'],
      second: ['one', 'two', 'three'],
      late: ['two', 'three'],
    });
  });

  test('is not told to who has left', async () => {
    const { work, join } = byHand();
    const told: string[] = [];
    const leaver = new AbortController();
    const leaving = join({ signal: leaver.signal, onReport: (report) => told.push(report) });
    const staying = join();
    work(0).report('before');
    leaver.abort(new Error('left'));
    await assert.rejects(leaving, /left/);
    work(0).report('after');
    work(0).land('value');
    await staying;
    assert.deepEqual(told, ['before']);
  });

  test('is told to who begins it, where it is said at once', async () => {
    const { shared } = byHand();
    const told: string[] = [];
    await shared.join('a', {
      signal: NEVER,
      onReport: (report) => told.push(report),
      produce: async (_, report) => {
        report('at once');
        return 'value';
      },
    });
    assert.deepEqual(told, ['at once']);
  });
});

describe('stopping', () => {
  test('aborts all work, waits for its end, and leaves what is held', async () => {
    const { shared, work, join, closed } = byHand();
    const held = join({}, 'held');
    work(0).land('value');
    const share = await held;
    const working = Promise.allSettled([join({}, 'one'), join({}, 'other')]);
    const reason = new Error('stopped');
    let isStopped = false;
    const stopping = shared.stop(reason).then(() => {
      isStopped = true;
    });
    assert.deepEqual([work(1).signal.reason, work(2).signal.reason], [reason, reason]);
    work(1).crash(reason);
    await turn();
    assert.equal(isStopped, false);
    work(2).crash(reason);
    await stopping;
    const refused = { status: 'rejected', reason };
    assert.deepEqual(await working, [refused, refused]);
    assert.equal(work(0).signal.aborted, false);
    assert.deepEqual(closed, []);
    assert.equal((await join({}, 'held')).value, 'value');
    share.release();
  });

  test('waits for work that nobody waits for any more', async () => {
    const { shared, work, join } = byHand();
    const leaver = new AbortController();
    const leaving = join({ signal: leaver.signal });
    leaver.abort(new Error('left'));
    await turn();
    let isStopped = false;
    const stopping = shared.stop(new Error('stopped')).then(() => {
      isStopped = true;
    });
    await turn();
    assert.equal(isStopped, false);
    work(0).crash(new Error('aborted'));
    await stopping;
    await assert.rejects(leaving, /left/);
  });

  test('gives what comes all the same to who still waits', async () => {
    const { shared, work, join, closed } = byHand();
    const asked = join();
    const stopping = shared.stop(new Error('stopped'));
    work(0).land('value');
    await stopping;
    const share = await asked;
    assert.deepEqual([share.value, closed], ['value', []]);
    share.release();
    assert.deepEqual(closed, ['value']);
  });
});
