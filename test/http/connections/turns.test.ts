import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { RequestTurns } from '../../../src/http/connections/request-turns.ts';
import { SendTurns } from '../../../src/http/connections/send-turns.ts';

const KIB = 1024;

/** Turns of the event loop in which requests have begun: their names, turn by turn. */
async function turnsOf(
  turns: RequestTurns,
  requests: readonly (readonly [client: string, name: string])[],
  eachTurn: () => void,
): Promise<readonly (readonly string[])[]> {
  const begun: string[][] = [[]];
  for (const [client, name] of requests) turns.next(client, () => begun.at(-1)?.push(name));
  while (begun.flat().length < requests.length) {
    eachTurn();
    begun.push([]);
    await nextTurn();
  }
  return begun.filter((names) => names.length > 0);
}

describe('requests begin', () => {
  const many = Array.from({ length: 40 }, (_, index) => ['a', `a ${index}`] as const);
  const quiet = () => undefined;

  test('a few in each turn of the event loop', async () => {
    const begun = await turnsOf(new RequestTurns(), many, quiet);
    assert.deepEqual(
      begun.flat(),
      many.map(([, name]) => name),
    );
    assert.deepEqual(
      begun.map(({ length }) => length),
      [16, 16, 8],
    );
  });

  test('of each client in turn', async () => {
    const [first = []] = await turnsOf(new RequestTurns(), [...many, ['b', 'b 0'], ['c', 'c 0']], quiet);
    assert.deepEqual(first.slice(0, 4), ['a 0', 'b 0', 'c 0', 'a 1']);
  });

  test('one after 32 connections, while each turn brings one', async () => {
    const turns = new RequestTurns();
    let connections = 0;
    const begun: number[] = [];
    for (const [client] of many.slice(0, 3)) turns.next(client, () => begun.push(connections));
    while (begun.length < 3) {
      turns.arrive();
      connections += 1;
      await nextTurn();
    }
    assert.deepEqual(begun, [32, 64, 96]);
  });

  test('in the turn after the last connection', async () => {
    const turns = new RequestTurns();
    turns.arrive();
    let isBegun = false;
    turns.next('a', () => {
      isBegun = true;
    });
    await nextTurn();
    assert.equal(isBegun, false);
    await nextTurn();
    assert.equal(isBegun, true);
  });
});

test('requests of probes are known by their first bytes', () => {
  const turns = new RequestTurns(['/health']);
  const rows: readonly [bytes: string, isUrgent: boolean][] = [
    ['GET /health HTTP/1.1\r\n', true],
    ['HEAD /health HTTP/1.0\r\n', true],
    ['GET /healthy HTTP/1.1\r\n', false],
    ['POST /health HTTP/1.1\r\n', false],
    ['GET /heal', false],
    ['', false],
  ];
  for (const [bytes, isUrgent] of rows) assert.equal(turns.isUrgent(Buffer.from(bytes)), isUrgent, bytes);
});

describe('writes', () => {
  /** Asks for writes of 256 KiB, and tells which have begun, turn by turn. */
  async function writesOf(clients: readonly string[]): Promise<readonly (readonly string[])[]> {
    const turns = new SendTurns();
    const begun: string[][] = [[]];
    for (const client of clients) {
      const wait = turns.enter(client, 256 * KIB);
      if (wait === undefined) begun.at(-1)?.push(client);
      else void wait.then(() => begun.at(-1)?.push(client));
    }
    while (begun.flat().length < clients.length) {
      begun.push([]);
      await nextTurn();
      // What waited is told by a promise.
      await Promise.resolve();
    }
    return begun;
  }

  test('of one turn of the event loop are 1 MiB', async () => {
    const begun = await writesOf(Array.from({ length: 10 }, () => 'a'));
    assert.deepEqual(
      begun.map(({ length }) => length),
      [4, 4, 2],
    );
  });

  test('of a client that has many leave another its turn', async () => {
    const [, second] = await writesOf(['a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'b']);
    assert.ok(second?.includes('b'));
  });

  test('larger than a turn begin all the same', async () => {
    const turns = new SendTurns();
    assert.equal(turns.enter('a', 100_000 * KIB), undefined);
    const wait = turns.enter('a', 100_000 * KIB);
    assert.ok(wait !== undefined);
    await wait;
  });
});
