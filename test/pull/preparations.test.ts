import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { PassthroughError } from '../../src/errors.ts';
import { Preparations, type PreparationWork } from '../../src/pull/preparations.ts';

/** `MAX_PREPARATIONS`. */
const MAX_PREPARATIONS = 1000;

/** `KEPT_MS`: milliseconds for which an ended preparation is kept. */
const KEPT_MS = 3_600_000;

const SUBJECT = {
  path: '/docker/app_1.tar',
  layout: 'docker',
  platform: 'all',
  images: ['registry.example/app:1'],
} as const;

/** Runs until it is cancelled. */
const endless: PreparationWork = (signal) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

/** Starts a preparation that runs until it is cancelled; returns its ID. */
function startEndless(preparations: Preparations): string {
  return preparations.start(SUBJECT, endless).preparation.id;
}

/** Runs a preparation to its end; returns its ID. */
async function run(preparations: Preparations, work: PreparationWork): Promise<string> {
  const { preparation, ended } = preparations.start(SUBJECT, work);
  await ended;
  return preparation.id;
}

const succeed: PreparationWork = async () => undefined;
const fail: PreparationWork = () => Promise.reject(new Error('no'));

describe('a preparation', () => {
  test('has the step and progress that its work reports, until it ends', async () => {
    const preparations = new Preparations();
    const progress = { layers: { done: 1, total: 2 }, bytes: { done: 10, total: 30 } };
    const release = Promise.withResolvers<void>();
    let report: Parameters<PreparationWork>[1] = () => undefined;
    const { preparation, ended } = preparations.start(SUBJECT, (_, onProgress) => {
      report = onProgress;
      return release.promise;
    });
    assert.deepEqual([preparation.state, preparation.subject], ['resolving', SUBJECT]);
    report({ step: 'fetching', ...progress });
    const fetching = preparations.find(preparation.id);
    assert.deepEqual([fetching?.state, fetching?.progress], ['fetching', progress]);
    release.resolve();
    const done = await ended;
    assert.deepEqual([done.state, done.progress], ['done', progress]);
    report({ step: 'waiting', ...progress });
    assert.equal(preparations.find(preparation.id)?.state, 'done');
  });

  test('that fails has its error, also if the work throws at once', async () => {
    const error = new PassthroughError('NO_SPACE', 'full');
    const work: PreparationWork = () => {
      throw error;
    };
    const preparations = new Preparations();
    const failed = preparations.find(await run(preparations, work));
    assert.deepEqual([failed?.state, failed?.error], ['failed', error]);
  });

  test('is cancelled while it runs, removed after its end, and then unknown', async () => {
    const preparations = new Preparations();
    const id = startEndless(preparations);
    assert.equal(await preparations.cancel(id), true);
    assert.equal(preparations.find(id)?.state, 'cancelled');
    assert.equal(await preparations.cancel(id), true);
    assert.equal(preparations.find(id), undefined);
    assert.equal(await preparations.cancel(id), false);
  });

  test('is kept for an hour after its end, and without limit while it runs', async () => {
    mock.timers.enable({ apis: ['Date'], now: 0 });
    try {
      const preparations = new Preparations();
      const running = startEndless(preparations);
      const done = await run(preparations, succeed);
      mock.timers.setTime(KEPT_MS);
      assert.equal(preparations.find(done)?.state, 'done');
      mock.timers.setTime(KEPT_MS + 1);
      assert.equal(preparations.find(done), undefined);
      assert.equal(await preparations.cancel(done), false);
      assert.equal(preparations.find(running)?.state, 'resolving');
      await preparations.stop();
    } finally {
      mock.timers.reset();
    }
  });
});

describe('1000 preparations', () => {
  test('can run; the next one is refused, and one more runs after another was cancelled', async () => {
    const preparations = new Preparations();
    const ids = Array.from({ length: MAX_PREPARATIONS }, () => startEndless(preparations));
    assert.throws(() => startEndless(preparations), {
      code: 'BUSY',
      message: `Cannot prepare it now: ${MAX_PREPARATIONS} preparations are under way`,
      details: { retryAfterSeconds: 60 },
    });
    assert.ok(ids.every((id) => preparations.find(id)?.state === 'resolving'));
    const [first = '', ...others] = ids;
    assert.equal(await preparations.cancel(first), true);
    startEndless(preparations);
    await preparations.stop();
    assert.ok(others.every((id) => preparations.find(id)?.state === 'cancelled'));
  });

  test('are kept, with ended ones among them; a new one then replaces the oldest ended one', async () => {
    const preparations = new Preparations();
    const ids = [startEndless(preparations), await run(preparations, succeed), await run(preparations, fail)];
    const states = () => ids.map((id) => preparations.find(id)?.state);
    for (let count = ids.length; count < MAX_PREPARATIONS; count += 1) startEndless(preparations);
    for (const expected of [
      ['resolving', 'done', 'failed'],
      ['resolving', undefined, 'failed'],
      ['resolving', undefined, undefined],
    ]) {
      assert.deepEqual(states(), expected);
      if (expected[2] !== undefined) startEndless(preparations);
    }
    assert.throws(() => startEndless(preparations), { code: 'BUSY' });
    await preparations.stop();
  });
});

test('stopped preparations are cancelled, and new ones refused', async () => {
  const preparations = new Preparations();
  const id = startEndless(preparations);
  await preparations.stop();
  assert.equal(preparations.find(id)?.state, 'cancelled');
  assert.throws(() => startEndless(preparations), {
    code: 'BUSY',
    message: 'Cannot begin a preparation: the service is stopping',
    details: { retryAfterSeconds: 5 },
  });
});
