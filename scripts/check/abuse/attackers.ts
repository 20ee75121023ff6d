/** The attacking clients of `abuse.ts`, in a thread of their own: sockets that send what they are told, and do not behave. */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

/** What attacking clients do. */
export interface Attack {
  /** Connections that are held at the same time. */
  readonly connections: number;
  /** Number of client addresses that the connections come from; 1 unless given. */
  readonly addresses?: number;
  /**
   * What the connections send, in turn; `#` in it is replaced by a number that is different each time.
   */
  readonly requests: readonly string[];
  /** Requests in one write: a pipeline; 1 unless given. */
  readonly pipelined?: number;
  /** What the client does with the answer: nothing, reads it, or reads 1 KiB a second. */
  readonly reads: 'nothing' | 'all' | 'slowly';
  /** Whether a connection that was closed is followed by a new one. Requests that are to be repeated say `Connection: close`. */
  readonly repeats?: boolean;
}

/** Bytes that a slow reader takes at once, and its pause, in milliseconds. */
const SLOW_BYTES = 1024;
const SLOW_MS = 1_000;

/** Pause of a connection before its next try, in milliseconds: a refused attacker comes back, but does not spin. */
const RETRY_MS = 20;

/** Starts the clients. */
export function startAttack(port: number, attack: Attack): AsyncDisposable {
  const worker = new Worker(new URL(import.meta.url), { workerData: { port, attack } });
  return {
    [Symbol.asyncDispose]: async () => {
      await worker.terminate();
    },
  };
}

if (!isMainThread && parentPort !== null) {
  const { port, attack } = workerData as { readonly port: number; readonly attack: Attack };
  let count = 0;
  const next = () => {
    const texts: string[] = [];
    for (let index = 0; index < (attack.pipelined ?? 1); index += 1) {
      const text = attack.requests[count % attack.requests.length] ?? '';
      texts.push(text.replaceAll('#', String(count)));
      count += 1;
    }
    return texts.join('');
  };
  for (let index = 0; index < attack.connections; index += 1) void runConnection(index, port, attack, next);
}

async function runConnection(index: number, port: number, attack: Attack, next: () => string): Promise<void> {
  const { addresses = 1, reads, repeats = false } = attack;
  const client = 10 + (index % addresses);
  const localAddress = `127.0.${1 + (client >> 8)}.${client & 0xff}`;
  do {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    socket.on('error', () => undefined);
    const closed = once(socket, 'close');
    socket.write(next());
    if (reads === 'all') socket.resume();
    else if (reads === 'slowly') void readSlowly(socket);
    await closed.catch(() => undefined);
    await delay(RETRY_MS);
  } while (repeats);
}

async function readSlowly(socket: Socket): Promise<void> {
  socket.pause();
  while (!socket.destroyed) {
    await delay(SLOW_MS);
    socket.read(SLOW_BYTES);
  }
}
