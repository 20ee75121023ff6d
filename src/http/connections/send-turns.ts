import { Rotation } from './rotation.ts';

/**
 * Most bytes that are handed to the system in one turn of the event loop. Writing to a socket copies, and the system may also
 * deliver: 1 MiB was seen to take 7 ms. Whatever waits for its turn, a new connection or a probe, waits for all of it, and a client
 * that is as fast as it can gets one chunk in a turn: with 4 MiB, one beside 500 new downloads took twice as long.
 */
const BYTES_OF_A_TURN = 1024 * 1024;

/** Spreads the writes of all answers over the turns of the event loop. */
export class SendTurns {
  readonly #waiting = new Rotation<{ readonly bytes: number; readonly begin: () => void }>();
  #left = BYTES_OF_A_TURN;
  #isScheduled = false;

  /**
   * Asks for a place in this turn, or in the next one that has room. Clients take turns, so that one with hundreds of slow
   * connections leaves another its share.
   *
   * @param client that the bytes go to
   * @param bytes length of the write
   * @returns what to wait for; nothing if the write may begin now
   */
  enter(client: string, bytes: number): Promise<void> | undefined {
    this.#schedule();
    if (this.#waiting.isEmpty && this.#left > 0) {
      this.#left -= bytes;
      return undefined;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(client, { bytes, begin: resolve });
    return promise;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#isScheduled = false;
    this.#left = BYTES_OF_A_TURN;
    while (this.#left > 0 && !this.#waiting.isEmpty) {
      const next = this.#waiting.take();
      this.#left -= next?.bytes ?? 0;
      next?.begin();
    }
    if (!this.#waiting.isEmpty) this.#schedule();
  }
}
