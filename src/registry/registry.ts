import type { Digest } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';

/** A manifest as the registry sent it, its bytes verified. */
export interface FetchedManifest {
  readonly bytes: Uint8Array;
  /** Digest of the bytes, counted here. */
  readonly digest: Digest;
  /** `Content-Type` of the answer; empty where there was none. */
  readonly contentType: string;
}

/** One repository of a registry, as one pull sees it. The signal of each method aborts it, with `ABORTED`. */
export interface Registry {
  /**
   * Fetches a manifest by tag, or by descriptor or digest, and verifies what it was asked by.
   *
   * @throws PassthroughError `IMAGE_NOT_FOUND`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, and those of every method:
   *   `REGISTRY_UNREACHABLE`, `REGISTRY_TIMEOUT`, `REGISTRY_DENIED`, `REGISTRY_RATE_LIMITED`, `REGISTRY_FAILED`,
   *   `REGISTRY_NOT_ALLOWED`, `ABORTED`
   */
  getManifest(reference: string | Descriptor, signal: AbortSignal): Promise<FetchedManifest>;

  /**
   * Fetches a config blob whole and verifies it.
   *
   * @throws PassthroughError as {@link getManifest}
   */
  getConfig(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array>;

  /**
   * Opens a layer blob. Resolves once the registry has answered; the bytes come as they are read, are not verified, and are
   * fetched on from where they broke off. Must be read, given up with `return()`, or aborted.
   *
   * @throws PassthroughError as {@link getManifest}; while reading `REGISTRY_UNREACHABLE` and `REGISTRY_TIMEOUT` only after
   *   several attempts
   */
  openLayer(
    descriptor: Descriptor,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>>;
}
