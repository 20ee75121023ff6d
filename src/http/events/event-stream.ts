import { PassthroughError } from '../../errors.ts';
import type { RequestContext } from '../request-context.ts';
import type { FeedEvent, PreparationFeeds, Subscriber, Subscription } from './preparation-feeds.ts';

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
  context.signal.throwIfAborted();
  using stream = EventStream.open(context, feeds, id);
  if (stream === undefined) return false;
  await stream.run(stallMs);
  context.response.end();
  return true;
}

/** One client's way from a feed to its connection. It holds one event at most, whose bytes it shares with other clients. */
class EventStream implements Subscriber, Disposable {
  readonly #context: RequestContext;
  readonly #end = Promise.withResolvers<void>();
  #subscription: Subscription | undefined;
  #sent: FeedEvent | undefined;
  #isBusy = false;
  #hasMissed = false;

  private constructor(context: RequestContext) {
    this.#context = context;
  }

  static open(context: RequestContext, feeds: PreparationFeeds, id: string): EventStream | undefined {
    const stream = new EventStream(context);
    stream.#subscription = feeds.subscribe(id, stream);
    return stream.#subscription && stream;
  }

  /** Sends the present state and those that follow, and resolves when the last one is out. */
  run(stallMs: number): Promise<void> {
    const { response, signal } = this.#context;
    signal.addEventListener('abort', this, { once: true });
    response.setTimeout(stallMs, () => {
      // Nothing is there to be taken: the next state is still to come.
      if (!this.#isBusy) response.setTimeout(stallMs);
      else
        this.#fail(
          new PassthroughError('ABORTED', `Stopped: the client took no byte for ${stallMs / 1000} s`),
        );
    });
    response.writeHead(200, HEADERS);
    this.#sendPresent();
    return this.#end.promise;
  }

  /** The client has left, or the service stops: `handleEvent` is how an object listens to a signal. */
  handleEvent(): void {
    this.#fail(this.#context.signal.reason);
  }

  receive(event: FeedEvent): void {
    if (this.#isBusy) {
      this.#hasMissed ||= event.kind !== 'heartbeat';
      return;
    }
    // A client that came between two events of the feed has the present state already.
    if (event.kind !== 'heartbeat' && event === this.#sent) return;
    if (event.kind !== 'heartbeat') this.#sent = event;
    this.#isBusy = true;
    this.#context.response.write(event.bytes, (error) => {
      this.#isBusy = false;
      if (error)
        this.#fail(new PassthroughError('ABORTED', 'Stopped: the client has left', { cause: error }));
      else if (event.kind === 'last') this.#end.resolve();
      else if (this.#hasMissed) {
        this.#hasMissed = false;
        this.#sendPresent();
      }
    });
  }

  [Symbol.dispose](): void {
    this.#context.signal.removeEventListener('abort', this);
    this.#subscription?.[Symbol.dispose]();
  }

  #sendPresent(): void {
    const event = this.#subscription?.present();
    if (event !== undefined) this.receive(event);
  }

  #fail(reason: unknown): void {
    this.#context.response.destroy();
    this.#end.reject(reason);
  }
}
