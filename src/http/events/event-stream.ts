import { PassthroughError } from '../../errors.ts';
import type { RequestContext } from '../request-context.ts';
import type { FeedEvent, PreparationFeeds, Subscription } from './preparation-feeds.ts';

/**
 * Headers of a stream of events. nginx gathers answers unless it is told not to.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 * @see https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
 */
const HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store',
  'X-Accel-Buffering': 'no',
};

/** Sends the header of a stream of events alone, for HEAD. */
export function sendEventsHead({ response }: RequestContext): void {
  response.writeHead(200, HEADERS).end();
}

/**
 * Sends the states of a preparation as events: the present one at once, later ones as they come, the last one when it has ended. A
 * client that does not read gets no further event until it has read the one before, and then the latest.
 *
 * @param stallMs longest time in which the client takes no byte of those that are there, in milliseconds
 * @returns `false` for an unknown ID; nothing is sent then
 * @throws PassthroughError `ABORTED` when the client leaves or takes no byte, or the service stops
 */
export async function sendEvents(
  context: RequestContext,
  feeds: PreparationFeeds,
  id: string,
  stallMs: number,
): Promise<boolean> {
  const { response, signal } = context;
  signal.throwIfAborted();
  using stream = EventStream.open(context, feeds, id);
  if (stream === undefined) return false;
  response.writeHead(200, HEADERS);
  const fail = (reason: unknown) => {
    response.destroy();
    stream.fail(reason);
  };
  const leave = () => fail(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  response.setTimeout(stallMs, () => {
    // Nothing is there to be taken: the next state is still to come.
    if (!stream.isBusy) response.setTimeout(stallMs);
    else fail(new PassthroughError('ABORTED', `Stopped: the client took no byte for ${stallMs / 1000} s`));
  });
  try {
    await stream.run();
  } finally {
    signal.removeEventListener('abort', leave);
  }
  response.end();
  return true;
}

/** One client's way from a feed to its connection. It holds one event at most, whose bytes it shares with other clients. */
class EventStream implements Disposable {
  readonly #response: RequestContext['response'];
  readonly #end = Promise.withResolvers<void>();
  #subscription: Subscription | undefined;
  #sent: FeedEvent | undefined;
  #isBusy = false;
  #hasMissed = false;

  private constructor({ response }: RequestContext) {
    this.#response = response;
  }

  static open(context: RequestContext, feeds: PreparationFeeds, id: string): EventStream | undefined {
    const stream = new EventStream(context);
    stream.#subscription = feeds.subscribe(id, (event) => stream.#receive(event));
    return stream.#subscription && stream;
  }

  /** Whether the system has not taken the last event yet. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Sends the present state, and resolves when the last one is out. */
  run(): Promise<void> {
    this.#sendPresent();
    return this.#end.promise;
  }

  fail(reason: unknown): void {
    this.#end.reject(reason);
  }

  [Symbol.dispose](): void {
    this.#subscription?.[Symbol.dispose]();
  }

  #sendPresent(): void {
    const event = this.#subscription?.present();
    if (event !== undefined) this.#receive(event);
  }

  #receive(event: FeedEvent): void {
    if (this.#isBusy) {
      this.#hasMissed ||= event.kind !== 'heartbeat';
      return;
    }
    // A client that came between two events of the feed has the present state already.
    if (event.kind !== 'heartbeat' && event === this.#sent) return;
    if (event.kind !== 'heartbeat') this.#sent = event;
    this.#isBusy = true;
    this.#response.write(event.bytes, (error) => {
      this.#isBusy = false;
      if (error) this.fail(new PassthroughError('ABORTED', 'Stopped: the client has left', { cause: error }));
      else if (event.kind === 'last') this.#end.resolve();
      else if (this.#hasMissed) {
        this.#hasMissed = false;
        this.#sendPresent();
      }
    });
  }
}
