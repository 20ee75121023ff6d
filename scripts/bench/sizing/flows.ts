/**
 * Downloads as a fluid: bytes flow at rates that change only when a download begins or ends. Links are shared as TCP shares them in
 * the long run, max-min fair: no download gets more while another one gets less.
 */

import { MinHeap } from './min-heap.ts';

/** A download that is this close to its end has ended, in bytes: doubles are not more precise over a long window. */
const TOLERANCE_BYTES = 0.5;

/** Shares that differ by less than this factor are equal. */
const EQUAL = 1 + 1e-12;

/** Something that several downloads share: a network link, or the processor that sends. */
export interface Link {
  readonly bytesPerSecond: number;
}

/** The length of a flow, and what happens when it has passed. */
export interface Flow {
  readonly bytes: number;
  readonly reached: () => void;
}

/** Downloads that pass the same links and have the same limit, so their rates are equal. */
export class FlowGroup {
  readonly links: readonly Link[];
  /** Limit of each flow, in bytes per second. */
  readonly limit: number;
  /** Rate of each flow, in bytes per second: {@link shareLinks} sets it. */
  rate = 0;
  #flows = 0;
  /** Bytes that a flow would have got if it had been there from the start. */
  #served = 0;
  readonly #ends = new MinHeap<() => void>();

  constructor(links: readonly Link[], limit: number) {
    this.links = links;
    this.limit = limit;
  }

  /** Number of flows. */
  get flows(): number {
    return this.#flows;
  }

  /** Seconds until the next flow ends, at the current rate. */
  get secondsToEnd(): number {
    const bytes = this.#ends.smallest - this.#served;
    return bytes === Number.POSITIVE_INFINITY ? bytes : Math.max(0, bytes) / this.rate;
  }

  /** Adds a flow. */
  add({ bytes, reached }: Flow): void {
    this.#flows += 1;
    this.#ends.push(this.#served + bytes, reached);
  }

  /** Lets time pass. */
  advance(seconds: number): void {
    this.#served += seconds * this.rate;
  }

  /** Removes the flows that have ended, and returns what happens then. */
  takeEnded(): (() => void)[] {
    const reached: (() => void)[] = [];
    while (this.#ends.smallest <= this.#served + TOLERANCE_BYTES) {
      const happens = this.#ends.pop();
      if (happens === undefined) break;
      this.#flows -= 1;
      reached.push(happens);
    }
    return reached;
  }
}

/**
 * Sets the rates of all flows, max-min fair: raises all rates together, and fixes those that meet their limit or a full link.
 *
 * @see https://en.wikipedia.org/wiki/Max-min_fairness
 */
export function shareLinks(groups: readonly FlowGroup[]): void {
  const open = new Set(groups.filter(({ flows }) => flows > 0));
  const links = new Map<Link, { bytes: number; flows: number }>();
  for (const { flows, links: passed } of open) {
    for (const link of passed) {
      const use = links.get(link) ?? { bytes: link.bytesPerSecond, flows: 0 };
      use.flows += flows;
      links.set(link, use);
    }
  }
  const shareOf = (group: FlowGroup) =>
    Math.min(
      group.limit,
      ...group.links.map((link) => {
        const { bytes, flows } = links.get(link) ?? { bytes: link.bytesPerSecond, flows: 1 };
        return bytes / flows;
      }),
    );
  while (open.size > 0) {
    const shares = Array.from(open, (group) => ({ group, share: shareOf(group) }));
    const level = Math.min(...shares.map(({ share }) => share));
    for (const { group } of shares.filter(({ share }) => share <= level * EQUAL)) {
      group.rate = level;
      open.delete(group);
      for (const link of group.links) {
        const use = links.get(link);
        if (use === undefined) continue;
        use.bytes = Math.max(0, use.bytes - level * group.flows);
        use.flows -= group.flows;
      }
    }
  }
}
