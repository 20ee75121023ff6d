/** What a scenario does with a service: its requests, and the waits that make what comes of them the same each time. */

import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import type { RequestOptions } from '../../../test/support/http-request.ts';
import { connectRaw } from '../../../test/support/raw-client.ts';
import { within } from '../../../test/support/within.ts';
import { type Answer, labelOf, readAnswer, type Seen, seen } from './answer.ts';
import { makeGround, type Observation, Side, type SideOptions } from './side.ts';

/** A request whose answer is still to come. */
export interface Pending {
  readonly observation: Observation;
  readonly answer: Promise<Answer>;
  /** Leaves, as a client does whose connection breaks. */
  leave(): void;
}

/** Makes the requests of a scenario to the service of one side. */
export class Visit extends Side {
  /** Whether answers of the registry are held back, so that it does not come to rest. */
  isStalling = false;
  #pending = 0;

  /** Make a side whose service does not run yet. */
  static async open(options: SideOptions): Promise<Visit> {
    return new Visit(options, await makeGround());
  }

  /** Takes note of what has reached the servers. */
  async settle(observation: Observation): Promise<void> {
    const { registry, other } = this.world;
    await allArrived();
    if (this.#pending === 0 && !this.isStalling) {
      for (const server of [registry, other]) {
        await within(server.waitForNoActiveRequests(), `quiet after ${observation.label}`);
      }
    }
    observation.upstream.push(...this.world.takeRequests());
  }

  /**
   * Makes a request on a connection of its own, and waits until the service and its registry have nothing more to do for it.
   *
   * @param path may hold `{registry}` and `{other}`, which stand for their host and port
   */
  async get(path: string, options: RequestOptions = {}): Promise<Seen> {
    const observation = this.observe(labelOf(path, options));
    const logged = this.service.logs().filter(({ event }) => event === 'request').length;
    const answer = await this.#answer(this.expand(path), options).catch((error: unknown) => {
      if (!isHangUp(error)) throw error;
      return undefined;
    });
    if (answer === undefined) {
      observation.text = 'The connection is closed without an answer';
      await this.service.waitForLog({ event: 'request' }, logged + 1);
    } else {
      observation.answer = answer;
      await this.#untilLogged(answer);
    }
    await this.settle(observation);
    return seen(answer ?? NO_ANSWER);
  }

  /**
   * Begins a preparation, and waits until it is as it is to be: over, unless said.
   *
   * @returns where to ask for it; empty where it was refused
   */
  async prepare(path: string, options: RequestOptions = {}, isReached = isOver): Promise<string> {
    const location = (await this.get(`/prepare${path}`, { ...options, method: 'POST' })).header('location');
    const observation = this.observations.at(-1);
    if (location === '' || observation === undefined) return location;
    await this.poll(location, isReached);
    await this.settle(observation);
    return location;
  }

  /** Makes requests one after the other. */
  async getAll(paths: readonly string[], options: RequestOptions = {}): Promise<void> {
    for (const path of paths) await this.get(path, options);
  }

  /** Sends bytes on a connection of its own, and reads until the service closes it. */
  async send(label: string, bytes: string | Uint8Array): Promise<void> {
    const observation = this.observe(label);
    using client = await connectRaw(this.service.port);
    client.send(bytes);
    const text = (await client.untilClosed()).toString('latin1');
    observation.text = text;
    for (const [, id] of text.matchAll(/^X-Request-Id: ([\w-]+)\r?$/gim)) {
      await this.service.waitForLog({ event: 'request', id });
    }
    await this.settle(observation);
  }

  /** Sends a GET whose target no HTTP library would send. */
  async target(target: string, headers: readonly string[] = []): Promise<void> {
    const path = Buffer.from(this.expand(target));
    const lines = ['Host: service', 'Connection: close', ...headers].join('\r\n');
    const bytes = Buffer.concat([Buffer.from('GET '), path, Buffer.from(` HTTP/1.1\r\n${lines}\r\n\r\n`)]);
    await this.send(`GET ${target} ${headers.join(' ')}`.trim(), bytes);
  }

  /** Begins a request that comes to a halt in the registry, and waits until `stalled` answers are held there in all. */
  async begin(path: string, options: RequestOptions = {}, stalled = 1): Promise<Pending> {
    const observation = this.observe(`${labelOf(path, options)} (begun)`);
    const leaving = new AbortController();
    this.#pending += 1;
    const answer = this.#answer(this.expand(path), { ...options, signal: leaving.signal });
    answer.catch(() => undefined);
    await within(this.world.registry.waitForStalled(stalled), `${stalled} stalled answers`);
    await this.settle(observation);
    return { observation, answer, leave: () => leaving.abort() };
  }

  /** Waits for the answer of a request that was begun. */
  async finish({ observation, answer }: Pending): Promise<void> {
    observation.answer = await within(answer, `the answer to ${observation.label}`);
    this.#pending -= 1;
    await this.#untilLogged(observation.answer);
    await this.settle(observation);
  }

  /** Leaves a request that was begun, and waits until the service has noticed. */
  async abandon({ observation, leave }: Pending, nth = 1): Promise<void> {
    leave();
    this.#pending -= 1;
    await this.service.waitForLog({ event: 'request', outcome: 'aborted' }, nth);
    await this.settle(observation);
  }

  /**
   * Begins an archive that no connection buffers, and does not read it to its end.
   *
   * @param isLeaving whether the client leaves; else it waits until the service cuts it off
   */
  async readHalf(path: string, isLeaving: boolean, nth = 1): Promise<void> {
    const observation = this.observe(`GET ${path} (${isLeaving ? 'left' : 'not read'})`);
    const response = await this.service.open(path);
    response.on('error', () => undefined);
    if (isLeaving) {
      await within(once(response, 'readable'), `the first bytes of ${path}`);
      response.destroy();
    }
    await this.service.waitForLog({ event: 'request', outcome: 'aborted' }, nth);
    response.destroy();
    await this.settle(observation);
  }

  /** Asks again and again until an answer is as it is to be. Of these requests nothing is kept. */
  async poll(path: string, isReached: (body: string) => boolean): Promise<void> {
    for (let attempt = 0; attempt < 500; attempt += 1) {
      const answer = await this.#answer(path, {});
      this.hiddenIds.add(seen(answer).header('x-request-id'));
      await this.#untilLogged(answer);
      if (isReached(answer.body.toString())) return;
    }
    throw new Error(`Cannot wait for ${path}: it does not become what it is to be`);
  }

  /** Puts the servers' addresses into a text. */
  expand(text: string): string {
    return text
      .replaceAll('{registry}', this.world.registry.host)
      .replaceAll('{other}', this.world.other.host);
  }

  async #answer(path: string, options: RequestOptions): Promise<Answer> {
    const body = options.body === undefined ? {} : { body: this.expand(options.body) };
    return await readAnswer(await this.service.open(path, { ...options, ...body }), path);
  }

  async #untilLogged(answer: Answer): Promise<void> {
    const id = seen(answer).header('x-request-id');
    if (id !== '') await this.service.waitForLog({ event: 'request', id });
  }
}

const NO_ANSWER: Answer = {
  version: '',
  status: 0,
  reason: '',
  headers: [],
  body: Buffer.alloc(0),
  isCut: true,
};

function isHangUp(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ECONNRESET';
}

/** Turns of the event loop in which a connection that the kernel has is accepted and read: two, and some for chance. */
const TURNS = 8;

/** Waits until the servers have seen what a service sent them before it answered: also what it has given up since. */
async function allArrived(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn += 1) await setImmediate();
}

function isOver(preparation: string): boolean {
  return /"state":"(?:done|failed|cancelled)"/.test(preparation);
}
