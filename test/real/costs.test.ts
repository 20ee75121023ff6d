/** What clients and registries can make the built service hold, as the system sees it. The bounds are wide. */
import { ok } from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type BuiltService, startBuiltService } from '../support/built-service.ts';
import { residentBytes } from '../support/process-state.ts';
import { connectRaw } from '../support/raw-client.ts';

const MIB = 1024 ** 2;

/** What attacks may add to the resident memory of the idle service, in bytes. */
const ONE_CLIENT = 150 * MIB;
const MANY_CLIENTS = 400 * MIB;

/** Milliseconds in which an attack has its effect. */
const ATTACK_LIMIT = 60_000;

/** Milliseconds in which `/health` answers beside an attack: many times what it takes here, on a busy machine. */
const HEALTH_LIMIT = 2_000;

/**
 * Asks for `/health` while an attack goes on.
 *
 * @param isOver whether the attack has had its effect; asked for after each answer
 * @returns by how much the peak of the memory is above `idle`
 */
async function costOf(service: BuiltService, idle: number, isOver: () => boolean): Promise<number> {
  const begun = performance.now();
  do {
    const asked = performance.now();
    const { status } = await service.request('/health');
    const ms = performance.now() - asked;
    ok(status === 200 && ms < HEALTH_LIMIT, `/health answers ${status} within ${ms} ms`);
    ok(asked - begun < ATTACK_LIMIT, 'the attack has its effect');
    await delay(50);
  } while (!isOver());
  return (await residentBytes(service.pid)).peak - idle;
}

test('pipelined requests by the thousand cost little memory', async (t) => {
  await using service = await startBuiltService(
    { LOG_LEVEL: 'info' },
    { nodeArgs: ['--max-old-space-size=256'] },
  );
  const get = 'GET /docker/x.tar HTTP/1.1\r\nHost: a\r\n\r\n';
  const { now: idle } = await residentBytes(service.pid);
  const answered = (count: number) => {
    const before = service.logs().length;
    return () => service.logs().length >= before + count;
  };
  {
    using client = await connectRaw(service.port);
    client.send(get.repeat(60_000));
    const cost = await costOf(service, idle, answered(2_000));
    t.diagnostic(`60,000 requests on one connection: ${Math.round(cost / MIB)} MiB`);
    ok(cost < ONE_CLIENT);
  }
  await using stack = new AsyncDisposableStack();
  const clients = await Promise.all(Array.from({ length: 300 }, () => connectRaw(service.port)));
  for (const client of clients) {
    stack.use(client);
    client.socket.pause();
    client.send(get.repeat(2_500));
  }
  const cost = await costOf(service, idle, answered(5_000));
  t.diagnostic(`2,500 requests on each of 300 connections: ${Math.round(cost / MIB)} MiB`);
  ok(cost < MANY_CLIENTS);
});
