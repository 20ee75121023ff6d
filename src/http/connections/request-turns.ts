import { Rotation } from './rotation.ts';

/**
 * Most bytes that all connections together hold back, in bytes. A connection holds back up to 80 KiB, so this is reached by
 * hundreds of connections that send far ahead.
 */
const MAX_HELD_BYTES = 16 * 1024 * 1024;

/** Most requests that all connections together begin in one turn of the event loop. One takes up to 0.5 ms. */
const REQUESTS_OF_A_TURN = 16;

/**
 * Connections that are accepted before the next request begins, as long as each turn of the event loop brings one. Node accepts
 * one connection a turn (libuv, `uv__server_io`), and they queue in the order of their arrival: if each of 500 new connections
 * began its request at once, the 501st would wait for the work of all of them.
 */
const ACCEPTED_PER_REQUEST = 32;

/**
 * What the gates of a server share: the bytes that they hold back, and the turns of the event loop in which held requests begin.
 */
export class RequestTurns {
  readonly #urgent: readonly string[];
  readonly #waiting = new Rotation<() => void>();
  #heldBytes = 0;
  #isScheduled = false;
  /** Connections since the last request began. */
  #accepted = 0;
  /** Whether this turn brought a connection. */
  #isArriving = false;

  /** @param urgentPaths paths of probes, whose requests never wait for a turn: an orchestrator kills what does not answer */
  constructor(urgentPaths: readonly string[] = []) {
    this.#urgent = urgentPaths.flatMap((path) => [`GET ${path} `, `HEAD ${path} `]);
  }

  /** Whether the bytes of a request begin as those of a probe. */
  isUrgent(bytes: Buffer): boolean {
    return this.#urgent.some((start) => bytes.toString('latin1', 0, start.length) === start);
  }

  /** Whether so many bytes are held that connections which hold back more than a little are cut. */
  get isFull(): boolean {
    return this.#heldBytes > MAX_HELD_BYTES;
  }

  /** @param bytes negative for bytes that are no longer held */
  hold(bytes: number): void {
    this.#heldBytes += bytes;
  }

  /** Records that a connection was accepted. More may follow in the next turns. */
  arrive(): void {
    this.#accepted += 1;
    this.#isArriving = true;
    this.#schedule();
  }

  /**
   * Begins a request at the end of this turn of the event loop or of a later one. Requests that are answered at once would
   * otherwise follow each other without a turn for other connections. Clients take turns, too: those of one that waits with
   * hundreds do not hold up the only one of another.
   *
   * @param client from which the request comes
   * @param pass is called once for all calls until then
   */
  next(client: string, pass: () => void): void {
    this.#waiting.add(client, pass);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#run());
  }

  #run(): void {
    this.#isScheduled = false;
    const most = this.#isArriving ? Math.floor(this.#accepted / ACCEPTED_PER_REQUEST) : REQUESTS_OF_A_TURN;
    this.#isArriving = false;
    if (most > 0) this.#accepted = 0;
    for (let count = 0; count < most && !this.#waiting.isEmpty; count += 1) this.#waiting.take()?.();
    if (!this.#waiting.isEmpty) this.#schedule();
  }
}
