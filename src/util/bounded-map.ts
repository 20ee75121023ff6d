/** Settings of {@link BoundedMap}. */
export interface BoundedMapOptions<Key, Value> {
  /** Largest sum of the costs of all entries; 0 keeps nothing. */
  readonly maxCost: number;
  /** What an entry costs, in the unit of `maxCost`; 1 unless given, so that entries are counted. Must not change. */
  readonly costOf?: (value: Value, key: Key) => number;
}

/** A map with a bound. The entries that were used least recently go first (LRU). */
export class BoundedMap<Key, Value> {
  readonly #maxCost: number;
  readonly #costOf: (value: Value, key: Key) => number;
  /** From the least to the most recently used. */
  readonly #entries = new Map<Key, Value>();
  #cost = 0;

  /** @param entries initial content, the most recently used last */
  constructor(
    { maxCost, costOf = () => 1 }: BoundedMapOptions<Key, Value>,
    entries: Iterable<readonly [Key, Value]> = [],
  ) {
    this.#maxCost = maxCost;
    this.#costOf = costOf;
    for (const [key, value] of entries) this.set(key, value);
  }

  /** Number of entries. */
  get size(): number {
    return this.#entries.size;
  }

  /** The value of a key; it counts as used. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, value);
    }
    return value;
  }

  /** Sets the value of a key and evicts others until the bound holds. A value beyond the bound is not kept. */
  set(key: Key, value: Value): void {
    this.delete(key);
    const cost = this.#costOf(value, key);
    if (cost > this.#maxCost) return;
    this.#entries.set(key, value);
    this.#cost += cost;
    for (const oldest of this.#entries.keys()) {
      if (this.#cost <= this.#maxCost) break;
      this.delete(oldest);
    }
  }

  /** Removes a key. */
  delete(key: Key): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.#cost -= this.#costOf(value, key);
  }

  /** All entries, from the least to the most recently used. */
  entries(): IterableIterator<[Key, Value]> {
    return this.#entries.entries();
  }
}
