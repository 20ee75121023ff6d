/** A priority queue: the value with the smallest key comes first. Values of equal keys come in no particular order. */
export class MinHeap<T> {
  readonly #entries: { readonly key: number; readonly value: T }[] = [];

  /** The smallest key; `Infinity` if the heap is empty. */
  get smallest(): number {
    return this.#entries[0]?.key ?? Number.POSITIVE_INFINITY;
  }

  /** Adds a value. */
  push(key: number, value: T): void {
    const entries = this.#entries;
    let hole = entries.push({ key, value }) - 1;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      const above = entries[parent];
      if (above === undefined || above.key <= key) break;
      entries[hole] = above;
      hole = parent;
    }
    entries[hole] = { key, value };
  }

  /** Removes and returns the value with the smallest key; `undefined` if the heap is empty. */
  pop(): T | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (first === undefined || last === undefined || entries.length === 0) return first?.value;
    let hole = 0;
    for (;;) {
      const left = entries[2 * hole + 1];
      const right = entries[2 * hole + 2];
      const isRight = right !== undefined && left !== undefined && right.key < left.key;
      const child = isRight ? right : left;
      if (child === undefined || child.key >= last.key) break;
      entries[hole] = child;
      hole = 2 * hole + (isRight ? 2 : 1);
    }
    entries[hole] = last;
    return first.value;
  }
}
