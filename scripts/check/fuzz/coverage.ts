/** Which parts of the sources a piece of work has reached, as V8 counts it. */

import { type Profiler, Session } from 'node:inspector';
import { fileURLToPath } from 'node:url';

/** Only the sources of the product count, not those of Node, of this fuzzer and of packages. */
const SOURCES = new URL('../../../src/', import.meta.url).href;

/** Counts the parts of the sources that run for the first time. */
export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** Number of parts that have run so far. A part that runs ten times as often as before counts as another one. */
  get size(): number {
    return this.#seen.size;
  }

  /** Takes what has run since the last call, and returns how many parts are new. */
  take(): number {
    let added = 0;
    this.#session.post('Profiler.takePreciseCoverage', (error, taken) => {
      if (error !== null) throw error;
      for (const script of taken.result) if (script.url.startsWith(SOURCES)) added += this.#add(script);
    });
    return added;
  }

  #add({ url, functions }: Profiler.ScriptCoverage): number {
    const before = this.#seen.size;
    const file = fileURLToPath(url);
    for (const { ranges } of functions) {
      for (const { startOffset, endOffset, count } of ranges) {
        if (count > 0) this.#seen.add(`${file} ${startOffset} ${endOffset} ${Math.floor(Math.log10(count))}`);
      }
    }
    return this.#seen.size - before;
  }
}
