import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Circuit, FIRST_PAUSE_MS, MAX_PAUSE_MS, type Pass } from '../../../src/registry/mirrors/circuit.ts';

/** A circuit with a clock that the test sets. */
function startCircuit() {
  const clock = { now: 1000 };
  const circuit = new Circuit(() => clock.now);
  return {
    clock,
    circuit,
    enter: (): Pass => {
      const pass = circuit.enter();
      assert.ok(pass, 'the server is left alone');
      return pass;
    },
  };
}

test('a server that answers is asked, by any number of requests at once', () => {
  const { circuit, enter } = startCircuit();
  const passes = [enter(), enter(), enter()];
  for (const pass of passes) assert.equal(pass.succeed(), false);
  assert.deepEqual([circuit.state, circuit.failures, circuit.waitMs], ['closed', 0, 0]);
});

test('one that failed is left alone, then asked once, then left alone for longer, up to a bound', () => {
  const { clock, circuit, enter } = startCircuit();
  const pauses: (number | undefined)[] = [];
  for (let failures = 1; failures <= 6; failures += 1) {
    const pauseMs = enter().fail();
    pauses.push(pauseMs);
    assert.equal(circuit.enter(), undefined);
    assert.deepEqual([circuit.state, circuit.failures, circuit.waitMs], ['open', failures, pauseMs]);
    clock.now += (pauseMs ?? 0) - 1;
    assert.equal(circuit.enter(), undefined);
    clock.now += 1;
    assert.equal(circuit.state, 'probing');
  }
  assert.deepEqual(pauses, [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
  assert.equal(pauses[0], FIRST_PAUSE_MS);
  assert.equal(pauses.at(-1), MAX_PAUSE_MS);
});

test('it is known since when a server fails, over several failures, until it answers', () => {
  const { clock, circuit, enter } = startCircuit();
  assert.equal(circuit.downMs, 0);
  enter().fail();
  clock.now += FIRST_PAUSE_MS;
  enter().fail();
  clock.now += 2 * FIRST_PAUSE_MS;
  assert.equal(circuit.downMs, 3 * FIRST_PAUSE_MS);
  enter().succeed();
  assert.equal(circuit.downMs, 0);
  enter().fail();
  clock.now += 5;
  assert.equal(circuit.downMs, 5);
});

test('a single request finds out whether it answers again', () => {
  const { clock, circuit, enter } = startCircuit();
  enter().fail();
  clock.now += FIRST_PAUSE_MS;
  const probe = enter();
  assert.equal(circuit.enter(), undefined);
  assert.equal(circuit.isPassable, false);
  assert.equal(probe.succeed(), true);
  assert.equal(circuit.state, 'closed');
  assert.equal(enter().fail(), FIRST_PAUSE_MS);
});

test('a request that was stopped leaves its place to the next', () => {
  const { clock, circuit, enter } = startCircuit();
  enter().fail();
  clock.now += FIRST_PAUSE_MS;
  enter().cancel();
  assert.equal(enter().succeed(), true);
  assert.equal(circuit.state, 'closed');
});

describe('a request that began before', () => {
  test('a failure does not count when it fails, too', () => {
    const { circuit, enter } = startCircuit();
    const [first, second] = [enter(), enter()];
    assert.equal(first.fail(), FIRST_PAUSE_MS);
    assert.equal(second.fail(), undefined);
    assert.equal(circuit.failures, 1);
  });

  test('a failure does not end the pause when it succeeds', () => {
    const { circuit, enter } = startCircuit();
    const [first, second] = [enter(), enter()];
    first.fail();
    assert.equal(second.succeed(), false);
    assert.equal(circuit.state, 'open');
  });

  test('a probe does not take its place', () => {
    const { clock, circuit, enter } = startCircuit();
    const [first, second] = [enter(), enter()];
    first.fail();
    clock.now += FIRST_PAUSE_MS;
    const probe = enter();
    second.cancel();
    assert.equal(circuit.enter(), undefined);
    assert.equal(probe.succeed(), true);
  });
});

describe('a server that asks for a time of its own gets', () => {
  const rows: readonly [atLeastMs: number, pauseMs: number][] = [
    [0, FIRST_PAUSE_MS],
    [1000, FIRST_PAUSE_MS],
    [90_000, 90_000],
    [86_400_000, MAX_PAUSE_MS],
  ];
  for (const [atLeastMs, pauseMs] of rows) {
    test(`${pauseMs} ms for ${atLeastMs} ms`, () =>
      assert.equal(startCircuit().enter().fail(atLeastMs), pauseMs));
  }
});
