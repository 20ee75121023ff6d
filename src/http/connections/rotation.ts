/**
 * A queue in which owners take turns: an owner with hundreds of items does not hold up the only item of another. Items of one owner
 * keep their order.
 */
export class Rotation<Item> {
  /** Items by owner. The owner whose turn it is comes first. An owner without items has no entry. */
  readonly #items = new Map<string, Set<Item>>();

  get isEmpty(): boolean {
    return this.#items.size === 0;
  }

  /** Adds an item. One that the owner has in the queue already stays where it is. */
  add(owner: string, item: Item): void {
    const items = this.#items.get(owner);
    if (items === undefined) this.#items.set(owner, new Set([item]));
    else items.add(item);
  }

  /** Takes the first item of the owner whose turn it is; undefined if the queue is empty. */
  take(): Item | undefined {
    const [first] = this.#items;
    if (first === undefined) return undefined;
    const [owner, items] = first;
    const [item] = items;
    this.#items.delete(owner);
    items.delete(item as Item);
    if (items.size > 0) this.#items.set(owner, items);
    return item;
  }
}
