/**
 * An event simulation of one maintenance window: devices start, ask the replica of their image, wait until it is prepared, download
 * it, and come back after a 503 when `Retry-After` says. No time passes but in preparations and downloads.
 */

import { FlowGroup, type Link, shareLinks } from './flows.ts';
import { MinHeap } from './min-heap.ts';

/** Limits and speeds of each replica. */
export interface Replica {
  /** `MAX_CONNECTIONS` */
  readonly maxConnections: number;
  /** `MAX_CONCURRENT_PREPARATIONS`: behind a balancer, all clients are one. */
  readonly places: number;
  /** `MAX_QUEUED_PREPARATIONS`. A request for an image that waits already joins it. */
  readonly maxQueued: number;
  /** `QUEUE_TIMEOUT` */
  readonly queueSeconds: number;
  /** What it sends at most: its network, or what its processor reaches. */
  readonly sendBytesPerSecond: number;
  /** What one preparation takes at most, in compressed bytes. */
  readonly pullBytesPerSecond: number;
}

/** One maintenance window. */
export interface Scenario {
  readonly devices: number;
  /** Starts are spread evenly over this time; 0: all at once. */
  readonly startSeconds: number;
  readonly replicas: number;
  readonly replica: Replica;
  /** Numbers of the image that a device asks for, and of the replica that the balancer chooses. */
  readonly placeOf: (device: number) => { readonly image: number; readonly replica: number };
  /** Bytes of each image at the registry. */
  readonly compressedBytes: number;
  /** Bytes of each archive. */
  readonly archiveBytes: number;
  /** Of each device. */
  readonly clientBytesPerSecond: number;
  /** Between the replicas and all devices. */
  readonly siteBytesPerSecond: number;
  /** Between the registry and all replicas. */
  readonly upstreamBytesPerSecond: number;
  /** `Retry-After` of a replica whose connections are all in use, and of one whose queue is full. */
  readonly retrySeconds: { readonly connections: number; readonly queue: number };
  /** Requests of a device until it gives up. */
  readonly tries: number;
}

/** What happens in a window. */
export interface Outcome {
  /** Seconds from the first request of each device to its last byte, ascending; without devices that gave up. */
  readonly deviceSeconds: readonly number[];
  /** When the last device had its archive. */
  readonly lastSeconds: number;
  /** Number of answers with status 503. */
  readonly refused: number;
  /** Number of devices that gave up. */
  readonly gaveUp: number;
  /** Number of preparations. */
  readonly pulls: number;
  /** Most connections of one replica at once. */
  readonly peakConnections: number;
  /** Most bytes a second to all devices. */
  readonly peakBytesPerSecond: number;
}

/** A device on its way to an archive. */
interface Device {
  readonly number: number;
  readonly startedAt: number;
  tries: number;
}

/** An image at a replica that is not prepared yet. */
interface Preparation {
  readonly waiting: Device[];
  isRunning: boolean;
}

/** Simulates a window. The same scenario gives the same outcome. */
export function simulate(scenario: Scenario): Outcome {
  return new Simulation(scenario).run();
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #timers = new MinHeap<() => void>();
  readonly #replicas: readonly SimulatedReplica[];
  readonly #groups: readonly FlowGroup[];
  readonly #deviceSeconds: number[] = [];
  #now = 0;
  #lastSeconds = 0;
  #refused = 0;
  #gaveUp = 0;
  #peakBytesPerSecond = 0;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    const site: Link = { bytesPerSecond: scenario.siteBytesPerSecond };
    const upstream: Link = { bytesPerSecond: scenario.upstreamBytesPerSecond };
    this.#replicas = Array.from(
      { length: scenario.replicas },
      () => new SimulatedReplica(scenario, site, upstream),
    );
    this.#groups = this.#replicas.flatMap(({ sending, pulling }) => [sending, pulling]);
  }

  run(): Outcome {
    const { devices, startSeconds } = this.#scenario;
    for (let number = 0; number < devices; number += 1) {
      const startedAt = (number * startSeconds) / devices;
      this.#at(startedAt, () => this.#ask({ number, startedAt, tries: 0 }));
    }
    for (;;) {
      shareLinks(this.#groups);
      this.#notePeak();
      const flowing = this.#groups.map(({ secondsToEnd }) => secondsToEnd);
      const next = Math.min(this.#timers.smallest, this.#now + Math.min(...flowing));
      if (next === Number.POSITIVE_INFINITY) break;
      for (const group of this.#groups) group.advance(next - this.#now);
      this.#now = next;
      const ended = this.#groups.flatMap((group) => group.takeEnded());
      for (const happens of ended) happens();
      while (this.#timers.smallest <= this.#now) this.#timers.pop()?.();
    }
    return {
      deviceSeconds: this.#deviceSeconds.toSorted((one, other) => one - other),
      lastSeconds: this.#lastSeconds,
      refused: this.#refused,
      gaveUp: this.#gaveUp,
      pulls: this.#replicas.reduce((sum, { pulls }) => sum + pulls, 0),
      peakConnections: Math.max(...this.#replicas.map(({ peakConnections }) => peakConnections)),
      peakBytesPerSecond: this.#peakBytesPerSecond,
    };
  }

  #at(seconds: number, happens: () => void): void {
    this.#timers.push(seconds, happens);
  }

  #notePeak(): void {
    const rate = this.#replicas.reduce((sum, { sending }) => sum + sending.flows * sending.rate, 0);
    this.#peakBytesPerSecond = Math.max(this.#peakBytesPerSecond, rate);
  }

  #ask(device: Device): void {
    device.tries += 1;
    const { retrySeconds, replica: limits, placeOf } = this.#scenario;
    const { image, replica: index } = placeOf(device.number);
    const replica = this.#replicas[index];
    if (replica === undefined) throw new Error(`There is no replica ${index}`);
    if (replica.connections >= limits.maxConnections) {
      this.#refuse(device, retrySeconds.connections);
      return;
    }
    if (replica.prepared.has(image)) {
      replica.connect();
      this.#send(replica, device);
      return;
    }
    let preparation = replica.preparations.get(image);
    if (preparation === undefined) {
      const hasPlace = replica.running < limits.places;
      if (!hasPlace && replica.queue.length >= limits.maxQueued) {
        this.#refuse(device, retrySeconds.queue);
        return;
      }
      preparation = { waiting: [], isRunning: false };
      replica.preparations.set(image, preparation);
      if (hasPlace) this.#pull(replica, image, preparation);
      else this.#queue(replica, image, preparation);
    }
    replica.connect();
    preparation.waiting.push(device);
  }

  #queue(replica: SimulatedReplica, image: number, preparation: Preparation): void {
    const { replica: limits, retrySeconds } = this.#scenario;
    replica.queue.push(image);
    this.#at(this.#now + limits.queueSeconds, () => {
      if (preparation.isRunning) return;
      replica.queue.splice(replica.queue.indexOf(image), 1);
      replica.preparations.delete(image);
      for (const device of preparation.waiting) {
        replica.connections -= 1;
        this.#refuse(device, retrySeconds.queue);
      }
    });
  }

  #pull(replica: SimulatedReplica, image: number, preparation: Preparation): void {
    preparation.isRunning = true;
    replica.running += 1;
    replica.pulls += 1;
    const reached = () => {
      replica.running -= 1;
      replica.prepared.add(image);
      replica.preparations.delete(image);
      for (const device of preparation.waiting) this.#send(replica, device);
      const next = replica.queue.shift();
      const queued = next === undefined ? undefined : replica.preparations.get(next);
      if (next !== undefined && queued !== undefined) this.#pull(replica, next, queued);
    };
    replica.pulling.add({ bytes: this.#scenario.compressedBytes, reached });
  }

  #send(replica: SimulatedReplica, device: Device): void {
    const reached = () => {
      this.#deviceSeconds.push(this.#now - device.startedAt);
      this.#lastSeconds = Math.max(this.#lastSeconds, this.#now);
      replica.connections -= 1;
    };
    replica.sending.add({ bytes: this.#scenario.archiveBytes, reached });
  }

  #refuse(device: Device, retrySeconds: number): void {
    this.#refused += 1;
    if (device.tries < this.#scenario.tries) this.#at(this.#now + retrySeconds, () => this.#ask(device));
    else this.#gaveUp += 1;
  }
}

class SimulatedReplica {
  readonly sending: FlowGroup;
  readonly pulling: FlowGroup;
  /** Images by their numbers. */
  readonly prepared = new Set<number>();
  readonly preparations = new Map<number, Preparation>();
  /** Images that wait for a place. */
  readonly queue: number[] = [];
  running = 0;
  pulls = 0;
  connections = 0;
  peakConnections = 0;

  constructor({ replica, clientBytesPerSecond }: Scenario, site: Link, upstream: Link) {
    const own: Link = { bytesPerSecond: replica.sendBytesPerSecond };
    this.sending = new FlowGroup([own, site], clientBytesPerSecond);
    this.pulling = new FlowGroup([upstream], replica.pullBytesPerSecond);
  }

  connect(): void {
    this.connections += 1;
    this.peakConnections = Math.max(this.peakConnections, this.connections);
  }
}
