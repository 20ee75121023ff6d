import assert from 'node:assert/strict';
import test from 'node:test';
import { SingleFlight } from '../../src/registry/single-flight.ts';
import { never } from './open.ts';

/** Work that is done by hand, and the signals that its runs were given. */
function byHand() {
  const runs: { signal: AbortSignal; land: (value: string) => void; crash: (error: Error) => void }[] = [];
  const work = (signal: AbortSignal): Promise<string> => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    runs.push({ signal, land: resolve, crash: reject });
    return promise;
  };
  return { runs, work };
}

test('all who ask at once share one run', async () => {
  const flights = new SingleFlight<string, string>();
  const { runs, work } = byHand();
  const asked = [1, 2, 3].map(() => flights.run('a', never(), work));
  assert.equal(runs.length, 1);
  runs[0]?.land('value');
  assert.deepEqual(await Promise.all(asked), ['value', 'value', 'value']);
});

test('other keys have runs of their own', async () => {
  const flights = new SingleFlight<string, string>();
  const { runs, work } = byHand();
  const asked = ['a', 'b'].map((key) => flights.run(key, never(), work));
  for (const [index, { land }] of runs.entries()) land(String(index));
  assert.deepEqual(await Promise.all(asked), ['0', '1']);
});

test('a landed run is not remembered', async () => {
  const flights = new SingleFlight<string, string>();
  const { runs, work } = byHand();
  for (const value of ['first', 'second']) {
    const asked = flights.run('a', never(), work);
    runs.at(-1)?.land(value);
    assert.equal(await asked, value);
  }
  assert.equal(runs.length, 2);
});

test('a failure reaches all who wait, and the next asker starts anew', async () => {
  const flights = new SingleFlight<string, string>();
  const { runs, work } = byHand();
  const asked = [1, 2].map(() => flights.run('a', never(), work));
  runs[0]?.crash(new Error('crashed'));
  for (const one of asked) await assert.rejects(one, /crashed/);
  const again = flights.run('a', never(), work);
  runs[1]?.land('value');
  assert.equal(await again, 'value');
});

test('the first asker leaves at once, and the others still get what it began', async () => {
  const flights = new SingleFlight<string, string>();
  const { runs, work } = byHand();
  const first = new AbortController();
  const leaving = flights.run('a', first.signal, work);
  const staying = flights.run('a', never(), work);
  first.abort(new Error('left'));
  await assert.rejects(leaving, /left/);
  assert.equal(runs[0]?.signal.aborted, false);
  runs[0]?.land('value');
  assert.equal(await staying, 'value');
  assert.equal(runs.length, 1);
});

test('when the last has left the work is aborted, and the next asker starts anew', async () => {
  const flights = new SingleFlight<string, string>();
  const { runs, work } = byHand();
  const controllers = [new AbortController(), new AbortController()];
  const asked = controllers.map(({ signal }) => flights.run('a', signal, work));
  controllers[0]?.abort(new Error('left'));
  await assert.rejects(asked[0] ?? Promise.resolve(), /left/);
  assert.equal(runs[0]?.signal.aborted, false);
  controllers[1]?.abort(new Error('left too'));
  await assert.rejects(asked[1] ?? Promise.resolve(), /left too/);
  assert.equal(runs[0]?.signal.aborted, true);

  const later = flights.run('a', never(), work);
  // What the abandoned work comes to is nobody's, and must not be told to the later asker.
  runs[0]?.crash(new Error('aborted'));
  runs[1]?.land('value');
  assert.equal(await later, 'value');
});

test('who has left already starts nothing', async () => {
  const flights = new SingleFlight<string, string>();
  const { runs, work } = byHand();
  await assert.rejects(flights.run('a', AbortSignal.abort(new Error('left')), work), /left/);
  assert.equal(runs.length, 0);
});
