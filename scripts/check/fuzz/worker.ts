/** Fuzzes one target in a thread of its own, so that an endless loop can be ended, and its input be told. */

import { parentPort, workerData } from 'node:worker_threads';
import { chanceOf } from '../../../test/support/seeded.ts';
import { Coverage } from './coverage.ts';
import { mutate } from './mutate.ts';
import { runTarget, TARGETS } from './targets.ts';

/** What the thread is given. */
export interface WorkerData {
  readonly target: string;
  readonly seed: number;
  readonly ms: number;
  /** Receives each input before it runs: its length in the first four bytes, then the input. */
  readonly current: SharedArrayBuffer;
}

/** What the thread tells at its end. */
export interface FuzzReport {
  readonly runs: number;
  /** Inputs that reached a new part of the sources. */
  readonly corpus: number;
  /** Parts of the sources that were reached. */
  readonly reached: number;
  readonly fault?: { readonly message: string; readonly input: string };
}

/** Inputs between two looks at the coverage. */
const BATCH = 20;

/** Largest input unless a target says otherwise, in bytes: `MAX_HEADER_BYTES` of the service. */
const MAX_HEADER_BYTES = 32 * 1024;

/** Longest time for one input, in milliseconds: a linear parser needs a tenth of it for the largest. */
const MAX_MS = 250;

/** Times that a slow input is repeated: the machine may have been busy. */
const REPETITIONS = 3;

const { target: name, seed, ms, current } = workerData as WorkerData;
parentPort?.postMessage(await fuzz());

async function fuzz(): Promise<FuzzReport> {
  const target = TARGETS.find((one) => one.name === name);
  if (target === undefined) throw new Error(`Cannot fuzz ${JSON.stringify(name)}: there is no such target`);
  const { maxBytes = MAX_HEADER_BYTES, words } = target;
  const chance = chanceOf(seed);
  const coverage = new Coverage();
  const corpus: Buffer[] = target.seeds.map((text) => Buffer.from(text));
  const end = performance.now() + ms;
  let runs = 0;
  const report = (fault?: FuzzReport['fault']): FuzzReport => ({
    ...{ runs, corpus: corpus.length, reached: coverage.size },
    ...(fault !== undefined && { fault }),
  });

  /** Runs an input, and returns what is wrong. */
  const faultOf = async (input: Buffer): Promise<string | undefined> => {
    runs += 1;
    tell(input);
    let fastest = Number.POSITIVE_INFINITY;
    for (let left = REPETITIONS; left > 0 && fastest > MAX_MS; left -= 1) {
      // Of this thread alone: other work of the machine must not count.
      const before = process.threadCpuUsage();
      try {
        await runTarget(target, input);
      } catch (error) {
        return error instanceof Error ? (error.stack ?? error.message) : String(error);
      }
      fastest = Math.min(fastest, process.threadCpuUsage(before).user / 1000);
    }
    return fastest > MAX_MS ? `It takes ${fastest.toFixed(0)} ms for ${input.length} bytes` : undefined;
  };

  let batch = [...corpus];
  for (;;) {
    for (const input of batch) {
      const fault = await faultOf(input);
      if (fault !== undefined) return report({ message: fault, input: input.toString('latin1') });
      if (performance.now() > end) return report();
    }
    if (coverage.take() > 0) {
      // One of the batch reached something new. V8 does not say which, so all are kept.
      const known = new Set(corpus);
      corpus.push(...batch.filter((input) => !known.has(input)));
    }
    batch = Array.from({ length: BATCH }, () =>
      mutate(chance.pick(corpus), chance, { words, maxBytes, other: chance.pick(corpus) }),
    );
  }
}

function tell(input: Buffer): void {
  new DataView(current).setUint32(0, input.length);
  new Uint8Array(current, 4).set(input);
}
