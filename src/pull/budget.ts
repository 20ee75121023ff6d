import { PassthroughError } from '../errors.ts';
import type { ImageLimits } from './image-limits.ts';

/** The bytes that one archive may still take, whatever images are in it. */
export class Budget {
  readonly #limits: ImageLimits;
  #compressed = 0;
  #uncompressed = 0;

  constructor(limits: ImageLimits) {
    this.#limits = limits;
  }

  /**
   * Counts what is going to be fetched, by what its descriptors say.
   *
   * @throws PassthroughError `IMAGE_TOO_LARGE` beyond the limit, before a byte is fetched
   */
  spendCompressed(bytes: number): void {
    this.#compressed += bytes;
    const limit = this.#limits.compressedBytes;
    if (this.#compressed > limit) {
      throw tooLarge(`its layers are ${this.#compressed} bytes compressed, more than ${limit}`);
    }
  }

  /**
   * Counts uncompressed bytes as they come.
   *
   * @throws PassthroughError `IMAGE_TOO_LARGE` beyond the limit: what a bomb unpacks to ends here
   */
  spend(bytes: number): void {
    this.#uncompressed += bytes;
    const limit = this.#limits.uncompressedBytes;
    if (this.#uncompressed > limit) throw tooLarge(`its layers take more than ${limit} bytes uncompressed`);
  }
}

function tooLarge(why: string): PassthroughError {
  return new PassthroughError('IMAGE_TOO_LARGE', `Cannot prepare image: ${why}`);
}
