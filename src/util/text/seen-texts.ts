import { hash, randomBytes } from 'node:crypto';

/** Bytes of a text's hash: as many as a number holds exactly. */
const HASH_BYTES = 6;

/** First number of slots. Their number doubles when half of them are taken. */
const FIRST_SLOTS = 1024;

/**
 * Tells which texts came before, in 16 to 32 bytes for each: a hash of 48 bits in a table with open addressing. Of two texts with
 * one hash only the first one is new: among 100,000 texts the chance is one in 50,000. The hash is salted, so that texts cannot be
 * chosen to fall on each other.
 */
export class SeenTexts {
  readonly #salt = randomBytes(16).toString('base64');
  /** Hashes plus one; 0 is a free slot. */
  #slots = new Float64Array(FIRST_SLOTS);
  #size = 0;

  /** Number of texts. */
  get size(): number {
    return this.#size;
  }

  /** Adds a text, and returns whether it is new. */
  add(text: string): boolean {
    const value = Number.parseInt(hash('sha256', this.#salt + text, 'hex').slice(0, 2 * HASH_BYTES), 16) + 1;
    if (!this.#put(value)) return false;
    this.#size += 1;
    if (2 * this.#size > this.#slots.length) this.#grow();
    return true;
  }

  #put(value: number): boolean {
    const slots = this.#slots;
    let at = value % slots.length;
    while (slots[at] !== 0) {
      if (slots[at] === value) return false;
      at = (at + 1) % slots.length;
    }
    slots[at] = value;
    return true;
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Float64Array(2 * before.length);
    for (const value of before) if (value !== 0) this.#put(value);
  }
}
