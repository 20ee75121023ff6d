/** The log of a service under test, in memory. */

import { Conditions } from './conditions.ts';
import { WAIT_LIMIT_MS, within } from './within.ts';

/** One line of the log. */
export type LogEvent = Readonly<Record<string, unknown>>;

/** The events of a log. */
export class MemoryLog {
  readonly #events: LogEvent[] = [];
  readonly #waiting = new Conditions();

  /** All events so far, in their order. */
  get events(): readonly LogEvent[] {
    return this.#events;
  }

  /** Appends an event. */
  add(event: LogEvent): void {
    this.#events.push(event);
    this.#waiting.changed();
  }

  /** Rejects all waits: no further event comes. */
  close(reason: Error): void {
    this.#waiting.close(reason);
  }

  /**
   * Resolves with an event.
   *
   * @param fields what the event must contain
   * @param nth which of the matching events, counted from 1
   * @param limitMs longest wait
   */
  waitFor(fields: LogEvent, nth = 1, limitMs = WAIT_LIMIT_MS): Promise<LogEvent> {
    const fits = (event: LogEvent): boolean =>
      Object.entries(fields).every(([name, value]) => event[name] === value);
    const found = this.#waiting.when(() => this.#events.filter(fits)[nth - 1]);
    return within(found, `log event ${JSON.stringify(fields)}`, limitMs);
  }
}
