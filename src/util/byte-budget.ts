/** Counts bytes against a limit. */
export class ByteBudget {
  readonly #limit: number;
  readonly #refuse: (limit: number, what: string) => Error;
  #spent = 0;

  /** @param refuse makes the error for more bytes than the limit */
  constructor(limit: number, refuse: (limit: number, what: string) => Error) {
    this.#limit = limit;
    this.#refuse = refuse;
  }

  /** Bytes so far. */
  get spent(): number {
    return this.#spent;
  }

  /**
   * Counts bytes as they come.
   *
   * @param what goes to `refuse`
   * @throws the error of `refuse` beyond the limit, so that a decompression bomb stops there
   */
  spend(bytes: number, what = ''): void {
    this.#spent += bytes;
    if (this.#spent > this.#limit) throw this.#refuse(this.#limit, what);
  }
}
