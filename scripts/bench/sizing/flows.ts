/**
 * Downloads as a fluid: bytes flow at rates that change only when a download begins or ends. Links are shared as TCP shares them in
 * the long run, max-min fair: no download gets more while another one gets less.
 */

import { MinHeap } from './min-heap.ts';

/** What limits a download that is this close to its end, in bytes, is the precision of a double. */
const TOLERANCE_BYTES = 0.5;

/** Shares that differ by less than this factor are equal. */
const EQUAL = 1 + 1e-12;

/** Something that several downloads share: a network link, or the processor that sends. */
export interface Link {
  readonly bytesPerSecond: number;
}

/** A number of bytes of a flow, and what happens when they have passed. */
export interface Mark {
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
  readonly #marks = new MinHeap<() => void>();

  constructor(links: readonly Link[], limit: number) {
    this.links = links;
    this.limit = limit;
  }

  /** Number of flows. */
  get flows(): number {
    return this.#flows;
  }

  /** Seconds until the next mark, at the current rate. */
  get secondsToMark(): number {
    const bytes = this.#marks.smallest - this.#served;
    return bytes === Number.POSITIVE_INFINITY ? bytes : Math.max(0, bytes) / this.rate;
  }

  /** Adds a flow. It ends at `end`. */
  add(end: Mark, ...others: readonly Mark[]): void {
    this.#flows += 1;
    for (const { bytes, reached } of others) this.#marks.push(this.#served + Math.max(0, bytes), reached);
    this.#marks.push(this.#served + end.bytes, () => {
      this.#flows -= 1;
      end.reached();
    });
  }

  /** Lets time pass. */
  advance(seconds: number): void {
    this.#served += seconds * this.rate;
  }

  /** Removes and returns what happens at the marks that are reached. */
  takeReached(): (() => void)[] {
    const reached: (() => void)[] = [];
    while (this.#marks.smallest <= this.#served + TOLERANCE_BYTES) {
      const happens = this.#marks.pop();
      if (happens !== undefined) reached.push(happens);
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
