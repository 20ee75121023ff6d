/**
 * The log of a service under test, kept in memory.
 */

import { Conditions } from './conditions.ts';
import { within } from './within.ts';

/** One line of the log. */
export type LogEvent = Readonly<Record<string, unknown>>;

/** All events of a log so far, and those to come. */
export class MemoryLog {
  readonly #events: LogEvent[] = [];
  readonly #waiting = new Conditions();

  /** In the order in which they came. */
  get events(): readonly LogEvent[] {
    return this.#events;
  }

  /** Append one. */
  add(event: LogEvent): void {
    this.#events.push(event);
    this.#waiting.changed();
  }

  /** Say that none will come any more: whoever still waits is told so. */
  close(reason: Error): void {
    this.#waiting.close(reason);
  }

  /**
   * @param fields what an event must have, to the letter
   * @param nth which one of those that do, counted from 1 and from the first event of all
   */
  waitFor(fields: LogEvent, nth = 1): Promise<LogEvent> {
    const fits = (event: LogEvent): boolean =>
      Object.entries(fields).every(([name, value]) => event[name] === value);
    const found = this.#waiting.when(() => this.#events.filter(fits)[nth - 1]);
    return within(found, `log event ${JSON.stringify(fields)}`);
  }
}
