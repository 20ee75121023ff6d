/**
 * `npm run fuzz [-- seconds [part of a name]]`: gives the parsers of foreign text random inputs, 30 seconds each by default. Inputs
 * that reach new parts of the sources are changed further. `FUZZ_SEED` repeats the sequence.
 *
 * A parser may refuse an input with an error of the right kind, short and printable. Any other error, a wrong result, and an
 * input that takes too long are faults: they are printed with the input, and the exit code is 1.
 */

import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { chanceOf } from '../../../test/support/seeded.ts';
import { type FuzzTarget, TARGETS } from './targets.ts';
import type { FuzzReport, WorkerData } from './worker.ts';

/** Time for each target, in seconds. */
const USUAL_SECONDS = 30;

/** Time beyond it until a thread that does not end counts as an endless loop, in milliseconds. */
const GRACE_MS = 15_000;

/** Bytes for the largest input, and its length. */
const CURRENT_BYTES = 1024 * 1024;

/** Most characters of an input that are printed. */
const MAX_SHOWN = 300;

const [seconds = String(USUAL_SECONDS), wanted = ''] = process.argv.slice(2);
const ms = Number(seconds) * 1000;
if (!(ms > 0))
  throw new Error(`Cannot fuzz for ${JSON.stringify(seconds)} seconds: expected a number above 0`);
const targets = TARGETS.filter(({ name }) => name.includes(wanted));
if (targets.length === 0)
  throw new Error(`Cannot fuzz ${JSON.stringify(wanted)}: no target has it in its name`);
const { seed } = chanceOf(process.env['FUZZ_SEED']);
console.log(`node ${process.version}, ${seconds} s a target, seed ${seed}`);

const left = [...targets];
let isSound = true;
await Promise.all(
  Array.from({ length: availableParallelism() }, async () => {
    for (let target = left.shift(); target !== undefined; target = left.shift()) {
      const { runs, corpus, reached, fault } = await fuzz(target);
      console.log(
        `${target.name.padEnd(44)} ${String(runs).padStart(9)} inputs, ${reached} parts reached, ${corpus} kept`,
      );
      if (fault === undefined) continue;
      isSound = false;
      console.log(`FAULT: ${fault.message}\ninput: ${JSON.stringify(fault.input.slice(0, MAX_SHOWN))}`);
    }
  }),
);
console.log(isSound ? 'sound' : 'not sound');
process.exitCode = isSound ? 0 : 1;

/** Runs a target in a thread. */
async function fuzz({ name }: FuzzTarget): Promise<FuzzReport> {
  const current = new SharedArrayBuffer(CURRENT_BYTES);
  const workerData: WorkerData = { target: name, seed, ms, current };
  const worker = new Worker(new URL('worker.ts', import.meta.url), { workerData });
  const { promise, resolve, reject } = Promise.withResolvers<FuzzReport>();
  worker.once('message', resolve);
  worker.once('error', reject);
  const timer = setTimeout(() => {
    const length = new DataView(current).getUint32(0);
    const input = Buffer.from(new Uint8Array(current, 4, length)).toString('latin1');
    resolve({ runs: 0, corpus: 0, reached: 0, fault: { message: 'It does not end', input } });
  }, ms + GRACE_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}
