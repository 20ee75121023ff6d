import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { type JobWork, PreparationJobs } from '../../src/http/preparation-jobs.ts';

/** Most jobs: `MAX_JOBS`. */
const MAX_JOBS = 1000;

/** Milliseconds for which an ended job is kept: `KEPT_MS`. */
const KEPT_MS = 3_600_000;

const SUBJECT = { path: '/docker/app_1.tar', images: ['registry.example.com/app:1'] };

/** Runs until it is cancelled. */
const endless: JobWork = (signal) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

/** Starts a job, and waits until it has ended if it does. */
async function start(jobs: PreparationJobs, work: JobWork): Promise<string> {
  const { id } = jobs.start(SUBJECT, work);
  // The end is noted two promise jobs after the work ends; a turn of the event loop runs them all.
  await new Promise(setImmediate);
  return id;
}

describe('preparation jobs', () => {
  test('are bounded: one more than may run is refused, and leaves the others running', async () => {
    const jobs = new PreparationJobs();
    const ids = Array.from({ length: MAX_JOBS }, () => jobs.start(SUBJECT, endless).id);
    assert.throws(() => jobs.start(SUBJECT, endless), {
      code: 'BUSY',
      message: `Cannot prepare it now: ${MAX_JOBS} preparations are under way`,
      details: { retryAfterSeconds: 60 },
    });
    assert.deepEqual(new Set(ids.map((id) => jobs.find(id)?.state)), new Set(['resolving']));
    assert.equal(await jobs.cancel(ids[7] ?? ''), true);
    jobs.start(SUBJECT, endless);
    await jobs.stop();
    assert.deepEqual(new Set(ids.map((id) => jobs.find(id)?.state)), new Set([undefined, 'cancelled']));
  });

  test('that have ended are kept until there are too many; then the oldest of them goes', async () => {
    const jobs = new PreparationJobs();
    const running = await start(jobs, endless);
    const done = await start(jobs, async () => undefined);
    const failed = await start(jobs, () => Promise.reject(new Error('no')));
    const states = () => [running, done, failed].map((id) => jobs.find(id)?.state);
    for (let count = 3; count < MAX_JOBS; count += 1) jobs.start(SUBJECT, endless);
    assert.deepEqual(states(), ['resolving', 'done', 'failed']);
    jobs.start(SUBJECT, endless);
    assert.deepEqual(states(), ['resolving', undefined, 'failed']);
    jobs.start(SUBJECT, endless);
    assert.deepEqual(states(), ['resolving', undefined, undefined]);
    assert.throws(() => jobs.start(SUBJECT, endless), { code: 'BUSY' });
    await jobs.stop();
  });

  test('that have ended are forgotten after an hour, running ones never', async () => {
    mock.timers.enable({ apis: ['Date'], now: 0 });
    try {
      const jobs = new PreparationJobs();
      const running = await start(jobs, endless);
      const done = await start(jobs, async () => undefined);
      mock.timers.setTime(KEPT_MS);
      assert.equal(jobs.find(done)?.state, 'done');
      mock.timers.setTime(KEPT_MS + 1);
      assert.equal(jobs.find(done), undefined);
      assert.equal(await jobs.cancel(done), false);
      assert.equal(jobs.find(running)?.state, 'resolving');
      await jobs.stop();
    } finally {
      mock.timers.reset();
    }
  });
});
