import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type JoinOptions, type Lease, SingleFlight } from '../../src/util/single-flight.ts';
import { within } from '../support/within.ts';

const NEVER = new AbortController().signal;

/** A run of the work, which ends by hand. */
interface Work {
  readonly signal: AbortSignal;
  readonly report: (report: string) => void;
  readonly end: (value: string) => void;
  readonly fail: (error: Error) => void;
}

/** A caller, and what became of its call. */
interface Caller {
  readonly abort: AbortController;
  readonly reports: string[];
  lease?: Lease<string>;
  outcome: string;
}

/** A state to check: what is named here must be so. */
interface State {
  /** `waits`, the message of the error, or origin and value, by caller. */
  readonly callers?: Readonly<Record<string, string>>;
  /** `running`, or the reason of the abort, of each run of the work. */
  readonly works?: readonly string[];
  /** Number of runs of the work. */
  readonly runs?: number;
  /** Reports by caller. */
  readonly reports?: Readonly<Record<string, readonly string[]>>;
  readonly closed?: readonly string[];
  /** Whether key `a` is produced or held. */
  readonly isKnown?: boolean;
  readonly isStopped?: boolean;
}

/**
 * A step of a scene: actions in one turn of the event loop, separated by `+`, or a state to check. Actions are
 * `join CALLER [KEY] [personal|shared] [ACCOUNT]`, `leave CALLER`, `release CALLER`, `end WORK VALUE`, `fail WORK MESSAGE`, `report WORK TEXT`,
 * `forget` and `stop`. Works are counted from 1.
 */
type Step = string | State;

/** Waits for everything that depends on promises alone. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function openScene() {
  const closed: string[] = [];
  const works: Work[] = [];
  const callers: Record<string, Caller> = {};
  const flight = new SingleFlight<string, string, string>((value) => closed.push(value));
  let isStopped = false;
  const produce: JoinOptions<string, string>['produce'] = (signal, report) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    works.push({ signal, report, end: resolve, fail: reject });
    return promise;
  };
  const isPersonal = (error: unknown, isSameAccount: boolean) => {
    const { message } = error as Error;
    return message === 'denied' || (message === 'throttled' && !isSameAccount);
  };
  const workOf = (index = '') => works[Number(index) - 1] ?? assert.fail(`work ${index} was not started`);
  const callerOf = (name = '') => callers[name] ?? assert.fail(`${name} did not join`);
  const actions: Record<string, (...words: string[]) => unknown> = {
    join: (name = '', key = 'a', kind, account) => {
      const caller: Caller = { abort: new AbortController(), reports: [], outcome: 'waits' };
      callers[name] = caller;
      const { signal } = caller.abort;
      const onReport = (report: string) => caller.reports.push(report);
      flight
        .join(key, {
          signal,
          produce,
          onReport,
          account,
          isPersonal: kind === 'personal' ? isPersonal : undefined,
        })
        .then(
          (lease) => {
            caller.lease = lease;
            caller.outcome = `${lease.origin} ${lease.value}`;
          },
          (error: Error) => {
            caller.outcome = error.message;
          },
        );
    },
    leave: (name) => callerOf(name).abort.abort(new Error('left')),
    release: (name) => callerOf(name).lease?.release(),
    end: (index, value = '') => workOf(index).end(value),
    fail: (index, message) => workOf(index).fail(new Error(message)),
    report: (index, text = '') => workOf(index).report(text),
    forget: () => flight.forget('a'),
    stop: () => flight.stop(new Error('stopped')).then(() => (isStopped = true)),
  };
  const state = (): Required<State> => ({
    callers: Object.fromEntries(Object.entries(callers).map(([name, { outcome }]) => [name, outcome])),
    works: works.map(({ signal }) => (signal.aborted ? signal.reason.message : 'running')),
    runs: works.length,
    reports: Object.fromEntries(Object.entries(callers).map(([name, { reports }]) => [name, reports])),
    closed,
    isKnown: flight.has('a'),
    isStopped,
  });
  const act = (action: string) => {
    const [verb = '', ...words] = action.trim().split(' ');
    return (actions[verb] ?? assert.fail(`no action ${verb}`))(...words);
  };
  return { flight, works, callers, closed, act, state };
}

/** Plays a scene. */
async function play(steps: readonly Step[]): Promise<void> {
  const { act, state } = openScene();
  for (const [index, step] of steps.entries()) {
    if (typeof step === 'string') {
      for (const action of step.split('+')) act(action);
      await turn();
      continue;
    }
    const seen = state();
    const names = Object.keys(step) as (keyof State)[];
    assert.deepEqual(Object.fromEntries(names.map((name) => [name, seen[name]])), step, `at step ${index}`);
  }
}

const SCENES: Readonly<Record<string, Readonly<Record<string, readonly Step[]>>>> = {
  'work that uses an account': {
    'is aborted when its caller leaves, and another caller starts again once it has ended': [
      'join A a shared me + join B a shared you + join C a shared you',
      { runs: 1 },
      'leave A',
      { callers: { A: 'left', B: 'waits', C: 'waits' }, works: ['left'], runs: 1, isKnown: true },
      'fail 1 aborted',
      { callers: { A: 'left', B: 'waits', C: 'waits' }, works: ['left', 'running'], runs: 2 },
      'end 2 value',
      { callers: { A: 'left', B: 'produced value', C: 'joined value' }, runs: 2 },
    ],
    'goes on while a caller with the same account waits': [
      'join A a shared me + join B a shared you + join C a shared me',
      'leave A',
      { works: ['running'] },
      'leave C',
      { works: ['left'] },
      'fail 1 aborted',
      { callers: { A: 'left', B: 'waits', C: 'left' }, works: ['left', 'running'] },
      'leave B',
      'fail 2 aborted',
      { callers: { A: 'left', B: 'left', C: 'left' }, runs: 2, isKnown: false },
    ],
    'goes over to a caller without an account, and then goes on for all': [
      'join A a shared me + join B + join C a shared you',
      'leave A',
      'fail 1 aborted',
      'leave B',
      { works: ['left', 'running'] },
      'end 2 value',
      { callers: { A: 'left', B: 'left', C: 'joined value' } },
    ],
    'is not joined once its caller has left, but waited for': [
      'join A a shared me + join B a shared you',
      'leave A',
      'join C a shared her',
      { runs: 1 },
      'fail 1 aborted',
      { runs: 2, callers: { A: 'left', B: 'waits', C: 'waits' } },
      'end 2 value',
      { callers: { A: 'left', B: 'produced value', C: 'joined value' } },
    ],
    'gives its result all the same if it ends at that moment': [
      'join A a shared me + join B a shared you',
      'leave A + end 1 value',
      { callers: { A: 'left', B: 'joined value' }, runs: 1, closed: [] },
      'release B',
      { closed: ['value'], isKnown: false },
    ],
    'ends with its last caller': [
      'join A a shared me',
      'leave A',
      { works: ['left'] },
      'fail 1 aborted',
      { callers: { A: 'left' }, runs: 1, isKnown: false },
    ],
    'is held by others after its caller has left': [
      'join A a shared me + join B a shared you',
      'end 1 value',
      'release A',
      { closed: [], runs: 1 },
      'join C a shared her',
      { callers: { A: 'produced value', B: 'joined value', C: 'held value' } },
    ],
    'fails for that account alone where the failure is personal': [
      'join A a personal me + join B a personal you + join C a personal me',
      'fail 1 throttled',
      { callers: { A: 'throttled', B: 'waits', C: 'throttled' }, runs: 2 },
      'fail 2 broken',
      { callers: { A: 'throttled', B: 'broken', C: 'throttled' }, runs: 2 },
    ],
  },
  'the work runs once': {
    'for all concurrent callers': [
      'join A + join B + join C',
      'end 1 value',
      { callers: { A: 'produced value', B: 'joined value', C: 'joined value' }, runs: 1 },
    ],
    'for each key': [
      'join A a + join B b',
      'end 1 of-a + end 2 of-b',
      { callers: { A: 'produced of-a', B: 'produced of-b' } },
    ],
    'and again after the last release': [
      'join A',
      { isKnown: true },
      'end 1 first',
      'release A',
      { isKnown: false, closed: ['first'] },
      'join B',
      'end 2 second',
      { callers: { A: 'produced first', B: 'produced second' } },
    ],
  },
  'a failure': {
    'reaches all callers and closes nothing; the next caller starts again': [
      'join A + join B',
      'fail 1 failed',
      { callers: { A: 'failed', B: 'failed' }, closed: [], isKnown: false },
      'join C',
      'end 2 value',
      { callers: { A: 'failed', B: 'failed', C: 'produced value' }, closed: [] },
    ],
  },
  'a failure that concerns one caller alone': {
    'makes one of the others start again, and the rest join it': [
      'join A a personal + join B a personal + join C a personal',
      'fail 1 denied',
      { callers: { A: 'denied', B: 'waits', C: 'waits' }, runs: 2 },
      'end 2 value',
      { callers: { A: 'denied', B: 'produced value', C: 'joined value' }, runs: 2 },
    ],
    'reaches each caller whose own work fails, too': [
      'join A a personal + join B a personal + join C a personal',
      'fail 1 denied',
      'fail 2 denied',
      { callers: { A: 'denied', B: 'denied', C: 'waits' } },
      'fail 3 denied',
      { callers: { A: 'denied', B: 'denied', C: 'denied' }, runs: 3 },
    ],
    'reaches a caller that does not distinguish it': [
      'join A a personal + join B a',
      'fail 1 denied',
      { callers: { A: 'denied', B: 'denied' }, runs: 1 },
    ],
    'is no other failure': [
      'join A a personal + join B a personal',
      'fail 1 failed',
      { callers: { A: 'failed', B: 'failed' }, runs: 1 },
    ],
    'does not make a caller start that has left': [
      'join A a personal + join B a personal',
      'fail 1 denied + leave B',
      { callers: { A: 'denied', B: 'left' }, runs: 1 },
    ],
  },
  'a caller that leaves': {
    'leaves at once, and the others get the result of the work that it started': [
      'join A + join B',
      'leave A',
      { callers: { A: 'left', B: 'waits' }, works: ['running'] },
      'end 1 value',
      { callers: { A: 'left', B: 'joined value' }, works: ['running'] },
    ],
    'as the last aborts the work, and ends when the work has failed': [
      'join A + join B',
      'leave A',
      { callers: { A: 'left', B: 'waits' }, works: ['running'] },
      'leave B',
      { callers: { A: 'left', B: 'waits' }, works: ['left'] },
      'join C',
      // The failure of the aborted work does not concern the later caller.
      'fail 1 aborted',
      { callers: { A: 'left', B: 'left', C: 'waits' } },
      'end 2 value',
      { callers: { A: 'left', B: 'left', C: 'produced value' } },
    ],
    'as the last ends when the work has ended; its result is closed, and the next caller has its own': [
      'join A',
      'leave A',
      { callers: { A: 'waits' } },
      'join B',
      'end 1 late + end 2 own',
      { callers: { A: 'left', B: 'produced own' }, closed: ['late'], isKnown: true },
      'release B',
      { closed: ['late', 'own'] },
    ],
    'with its result keeps it until the release': [
      'join A',
      'end 1 value',
      'leave A',
      { callers: { A: 'produced value' }, closed: [], works: ['running'] },
      'release A',
      { closed: ['value'] },
    ],
    'before the result comes, in the same turn, has it closed once': [
      'join A',
      'leave A + end 1 value',
      'release A',
      { callers: { A: 'left' }, closed: ['value'] },
    ],
    'after the result came, in the same turn, has it closed once': [
      'join A',
      'end 1 value + leave A',
      'release A',
      { closed: ['value'] },
    ],
  },
  'a result': {
    'tells each caller its origin': [
      'join A + join B',
      'end 1 value',
      'join C',
      { callers: { A: 'produced value', B: 'joined value', C: 'held value' }, runs: 1 },
    ],
    'is closed once, with the last release, and is not returned after that': [
      'join A + join B',
      'end 1 value',
      'join C',
      'release A + release C',
      { closed: [], isKnown: true },
      'release B',
      { closed: ['value'], isKnown: false },
      'release A + release B + release C',
      { closed: ['value'] },
      'join D',
      'end 2 another',
      { callers: { A: 'produced value', B: 'joined value', C: 'held value', D: 'produced another' } },
    ],
    'is not taken from other callers by a second release': [
      'join A + join B',
      'end 1 value',
      'release A + release A',
      { closed: [] },
      'join C',
      { callers: { A: 'produced value', B: 'joined value', C: 'held value' } },
    ],
    'that is forgotten stays with its holder, and the next caller starts again': [
      'join A',
      'end 1 old',
      'forget',
      { isKnown: false },
      'join B',
      'end 2 new',
      { callers: { A: 'produced old', B: 'produced new' }, closed: [] },
      'release A',
      { closed: ['old'] },
      'join C',
      { callers: { A: 'produced old', B: 'produced new', C: 'held new' } },
      'release B + release C',
      { closed: ['old', 'new'] },
    ],
  },
  'a report': {
    'reaches all callers that wait, and the latest one a later caller': [
      'join A + join B',
      'report 1 one + report 1 two',
      'join C',
      'report 1 three + end 1 value',
      'report 1 after-the-end',
      { reports: { A: ['one', 'two', 'three'], B: ['one', 'two', 'three'], C: ['two', 'three'] } },
    ],
    'does not reach a caller that has left': [
      'join A + join B',
      'report 1 before + leave A',
      'report 1 after',
      { reports: { A: ['before'], B: ['before', 'after'] } },
    ],
  },
  stopping: {
    'aborts all work, waits for its end, and leaves what is held': [
      'join H a',
      'end 1 value',
      'join A b + join B c',
      'stop',
      { works: ['running', 'stopped', 'stopped'] },
      'fail 2 stopped',
      { isStopped: false },
      'fail 3 stopped',
      { isStopped: true, callers: { H: 'produced value', A: 'stopped', B: 'stopped' }, closed: [] },
      'join C a',
      { callers: { H: 'produced value', A: 'stopped', B: 'stopped', C: 'held value' } },
    ],
    'waits for work that no caller waits for': [
      'join A',
      'leave A',
      'stop',
      { isStopped: false },
      'fail 1 aborted',
      { isStopped: true, callers: { A: 'left' } },
    ],
    'returns a result that comes nevertheless': [
      'join A',
      'stop',
      'end 1 value',
      { isStopped: true, callers: { A: 'produced value' }, closed: [] },
      'release A',
      { closed: ['value'] },
    ],
  },
};
for (const [subject, scenes] of Object.entries(SCENES)) {
  describe(subject, () => {
    for (const [name, steps] of Object.entries(scenes)) test(name, () => play(steps));
  });
}

describe('the work', () => {
  test('starts at once, also where it fails at once', async () => {
    const { flight } = openScene();
    const failure = new Error('at once');
    const call = flight.run('a', NEVER, () => {
      throw failure;
    });
    await assert.rejects(call, failure);
    assert.equal(flight.has('a'), false);
  });

  test('does not start for a caller that has left', async () => {
    const { flight } = openScene();
    const left = AbortSignal.abort(new Error('left'));
    await assert.rejects(
      flight.run('a', left, () => assert.fail('the work was started')),
      /left/,
    );
  });

  test('may abort its own caller, and report, while it starts', async () => {
    const { flight } = openScene();
    const leaver = new AbortController();
    const working = Promise.withResolvers<string>();
    const reports: string[] = [];
    const call = flight.join('a', {
      signal: leaver.signal,
      onReport: (report) => reports.push(report),
      produce: (signal, report) => {
        report('at once');
        signal.addEventListener('abort', () => working.reject(new Error('aborted')));
        leaver.abort(new Error('left'));
        return working.promise;
      },
    });
    await assert.rejects(within(call, 'the caller'), /left/);
    await assert.rejects(working.promise, /aborted/);
    assert.deepEqual(reports, ['at once']);
  });

  test('may have undefined as its result; a caller without a lease gets it, too', async () => {
    const closed: undefined[] = [];
    const flight = new SingleFlight<string, undefined>((value) => closed.push(value));
    const options = { signal: NEVER, produce: async () => undefined };
    const lease = await flight.join('a', options);
    assert.equal((await flight.join('a', options)).origin, 'held');
    assert.equal(await flight.run('a', NEVER, () => assert.fail('the result is held')), undefined);
    lease.release();
    assert.deepEqual(closed, []);
  });
});

test('each result is closed once, and only while no caller holds it, in any order of events', async () => {
  const step = fc.record({
    act: fc.constantFrom('join', 'join', 'leave', 'release', 'end', 'fail', 'forget'),
    nth: fc.nat(5),
    turns: fc.nat(4),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const { flight, works, callers, closed, act } = openScene();
      const ended = new Set<Work>();
      const values: string[] = [];
      const released = new Set<Caller>();
      const holders = () =>
        Object.entries(callers).filter(([, caller]) => caller.lease !== undefined && !released.has(caller));
      const assertOpen = () => {
        for (const [, { lease }] of holders())
          assert.ok(!closed.includes(lease?.value ?? ''), 'a held result was closed');
      };
      const play = (verb: string, nth: number) => {
        const names = Object.keys(callers);
        const work = works.filter((one) => !ended.has(one))[nth];
        if (verb === 'join') act(`join ${names.length}`);
        else if (verb === 'leave' && names.length > 0) act(`leave ${nth % names.length}`);
        else if (verb === 'forget') act('forget');
        else if (verb === 'release') {
          const [name, holder] = holders()[nth % Math.max(holders().length, 1)] ?? [];
          if (holder === undefined) return;
          released.add(holder);
          act(`release ${name}`);
        } else if (work !== undefined && (verb === 'end' || verb === 'fail')) {
          ended.add(work);
          if (verb === 'end') values.push(`value-${values.length}`);
          act(`${verb} ${works.indexOf(work) + 1} ${values.at(-1)}`);
        }
      };
      for (const { act: verb, nth, turns } of steps) {
        play(verb, nth);
        for (let count = 0; count < turns; count += 1) await undefined;
        assertOpen();
      }
      await turn();
      for (const name of Object.keys(callers)) act(`leave ${name}`);
      while (works.some((one) => !ended.has(one))) play('end', 0);
      await turn();
      assertOpen();
      while (holders().length > 0) play('release', 0);
      assert.deepEqual(closed.toSorted(), values.toSorted());
      assert.equal(flight.has('a'), false);
    }),
    { numRuns: 300 },
  );
});
