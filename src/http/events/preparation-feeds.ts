import type { Preparation, PreparationLookUp } from '../../pull/preparations.ts';

/** Least time between two events of a preparation, in milliseconds: four a second look smooth. The last event does not wait. */
const INTERVAL_MS = 250;

/** Interval of comments, in milliseconds: proxies close connections that are silent for 30 to 60 s. */
const HEARTBEAT_MS = 15_000;

/**
 * Most clients that get an event in one turn of the event loop. Each write takes some 30 µs, and memory until the system has taken it.
 */
const CLIENTS_OF_A_TURN = 50;

/** A comment, which a client ignores: https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes */
const HEARTBEAT: FeedEvent = { kind: 'heartbeat', bytes: Buffer.from(':\n\n') };

/** What is sent: a state of a preparation, its last state, or a sign of life. The bytes are made once for all subscribers. */
export interface FeedEvent {
  readonly kind: 'state' | 'last' | 'heartbeat';
  readonly bytes: Buffer;
}

/** A subscriber's place in a feed. */
export interface Subscription extends Disposable {
  /** The latest state, also if it was not sent yet. */
  present(): FeedEvent;
}

/** Receives the events of a feed. */
export interface Subscriber {
  /** May drop any event, since each is complete. Must not throw. */
  receive(event: FeedEvent): void;
}

/** Settings of {@link PreparationFeeds}. */
export interface FeedsOptions {
  readonly preparations: PreparationLookUp;
  /** A preparation as JSON on one line. */
  readonly encode: (preparation: Preparation) => string;
  /** {@link INTERVAL_MS} unless given. */
  readonly intervalMs?: number;
  /** {@link HEARTBEAT_MS} unless given. */
  readonly heartbeatMs?: number;
}

/** The states of preparations as events. A preparation has a feed while it has subscribers. */
export class PreparationFeeds {
  readonly #options: FeedsOptions;
  readonly #feeds = new Map<string, Feed>();
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(options: FeedsOptions) {
    this.#options = options;
  }

  /**
   * Subscribes to a preparation. The subscriber is called for later states only: see {@link Subscription.present}.
   *
   * @returns `undefined` for an unknown ID
   */
  subscribe(id: string, subscriber: Subscriber): Subscription | undefined {
    const feed = this.#feeds.get(id) ?? Feed.open(id, this.#options);
    if (feed === undefined) return undefined;
    this.#feeds.set(id, feed);
    feed.subscribers.add(subscriber);
    this.#heartbeat ??= setInterval(() => this.#beat(), this.#options.heartbeatMs ?? HEARTBEAT_MS).unref();
    return new Place(feed, subscriber, this.#close);
  }

  readonly #close = (feed: Feed): void => {
    if (this.#feeds.get(feed.id) === feed) this.#feeds.delete(feed.id);
    feed.close();
    if (this.#feeds.size > 0) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  };

  #beat(): void {
    for (const { subscribers } of this.#feeds.values())
      for (const subscriber of [...subscribers]) subscriber.receive(HEARTBEAT);
  }
}

/** A class, not an object of functions: there are a thousand of them. */
class Place implements Subscription {
  readonly #feed: Feed;
  readonly #subscriber: Subscriber;
  readonly #close: (feed: Feed) => void;

  /** @param close is called when the last subscriber has left */
  constructor(feed: Feed, subscriber: Subscriber, close: (feed: Feed) => void) {
    this.#feed = feed;
    this.#subscriber = subscriber;
    this.#close = close;
  }

  present(): FeedEvent {
    return this.#feed.present();
  }

  [Symbol.dispose](): void {
    const { subscribers } = this.#feed;
    if (subscribers.delete(this.#subscriber) && subscribers.size === 0) this.#close(this.#feed);
  }
}

/** The events of one preparation. */
class Feed {
  readonly subscribers = new Set<Subscriber>();
  readonly id: string;
  readonly #options: FeedsOptions;
  #event: FeedEvent;
  /** Whether the preparation has changed since the event was made. */
  #isStale = false;
  /** Subscribers that have not got the latest event yet. */
  #waiting: Subscriber[] = [];
  #sentAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #unwatch: () => void = () => undefined;

  private constructor(preparation: Preparation, options: FeedsOptions) {
    this.id = preparation.id;
    this.#options = options;
    this.#event = this.#encode(preparation);
  }

  /** Opens the feed of a preparation, which the caller must close; `undefined` for an unknown ID. */
  static open(id: string, options: FeedsOptions): Feed | undefined {
    const { preparations } = options;
    const preparation = preparations.find(id);
    if (preparation === undefined) return undefined;
    const feed = new Feed(preparation, options);
    feed.#unwatch = preparations.watch(id, (hasEnded) => feed.#change(hasEnded)) ?? feed.#unwatch;
    return feed;
  }

  /** The latest state. The last one stays here after the preparation is forgotten. */
  present(): FeedEvent {
    const preparation = this.#isStale ? this.#options.preparations.find(this.id) : undefined;
    this.#isStale = false;
    if (preparation !== undefined) this.#event = this.#encode(preparation);
    return this.#event;
  }

  close(): void {
    this.#unwatch();
    clearTimeout(this.#timer);
  }

  /** Sends the present state, or lets it wait for its time. Of many states in that time, the last is sent. */
  #change(hasEnded: boolean): void {
    this.#isStale = true;
    const { intervalMs = INTERVAL_MS } = this.#options;
    const waitMs = this.#sentAt + intervalMs - performance.now();
    if (waitMs <= 0 || hasEnded) this.#send();
    else this.#timer ??= setTimeout(() => this.#send(), waitMs).unref();
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sentAt = performance.now();
    this.present();
    const isSending = this.#waiting.length > 0;
    this.#waiting = [...this.subscribers];
    if (!isSending) this.#sendSome();
  }

  /** Sends the latest state to some of those that wait for it. */
  #sendSome(): void {
    for (const subscriber of this.#waiting.splice(0, CLIENTS_OF_A_TURN))
      if (this.subscribers.has(subscriber)) subscriber.receive(this.#event);
    if (this.#waiting.length > 0) setImmediate(() => this.#sendSome());
  }

  /** https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation */
  #encode(preparation: Preparation): FeedEvent {
    const { revision, endedAt } = preparation;
    const data = this.#options.encode(preparation);
    const bytes = Buffer.from(`event: progress\nid: ${revision}\ndata: ${data}\n\n`);
    return { kind: endedAt === undefined ? 'state' : 'last', bytes };
  }
}
