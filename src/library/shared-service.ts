import { ImageService } from '../pull/image-service.ts';
import type { ImageServiceOptions } from '../pull/options.ts';

/** A share of a service. */
export interface ServiceLease {
  readonly service: ImageService;
  /** Gives the share up; the last one closes the service. Further calls do nothing. */
  release(): Promise<void>;
}

/** One period in which a service is open. */
interface Period {
  readonly opening: Promise<ImageService>;
  readonly ended: PromiseWithResolvers<void>;
  leases: number;
}

/** A service that is open while it is in use, and leaves no folder and no connection behind. */
export class SharedService {
  readonly #options: ImageServiceOptions;
  #period: Period | undefined;
  /** Periods in which the service is open or being closed. */
  readonly #periods = new Set<Period>();

  constructor(options: ImageServiceOptions) {
    this.#options = options;
  }

  /**
   * Opens the service, or takes a share of it if it is open.
   *
   * @throws PassthroughError as `ImageService.open`
   */
  async acquire(): Promise<ServiceLease> {
    const period = this.#period ?? this.#start();
    period.leases += 1;
    try {
      const service = await period.opening;
      let isHeld = true;
      const release = async () => {
        if (!isHeld) return;
        isHeld = false;
        await this.#leave(period);
      };
      return { service, release };
    } catch (error) {
      await this.#leave(period);
      throw error;
    }
  }

  /** Resolves when the service is in use no more, and closed. */
  async idle(): Promise<void> {
    await Promise.all(this.#periods.values().map(({ ended }) => ended.promise));
  }

  #start(): Period {
    const ended = Promise.withResolvers<void>();
    const period = { opening: ImageService.open(this.#options), ended, leases: 0 };
    this.#period = period;
    this.#periods.add(period);
    return period;
  }

  async #leave(period: Period): Promise<void> {
    period.leases -= 1;
    if (period.leases > 0) return;
    if (this.#period === period) this.#period = undefined;
    const service = await period.opening.catch(() => undefined);
    try {
      await service?.close();
    } finally {
      this.#periods.delete(period);
      period.ended.resolve();
    }
  }
}
