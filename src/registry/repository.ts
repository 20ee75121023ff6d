import type { Digest } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';

/** A manifest as the registry sent it, its bytes verified. */
export interface FetchedManifest {
  readonly bytes: Uint8Array;
  /** Digest of the bytes, counted here. */
  readonly digest: Digest;
  /** `Content-Type` of the answer; empty where there was none. */
  readonly contentType: string;
  /** Milliseconds since the registry has said so, where it cannot be asked now; absent where it has just been. */
  readonly staleMs?: number;
}

/** What a registry says of a manifest without sending it. Nothing of it is verified. */
export interface ManifestHead {
  /** `Docker-Content-Digest`: a claim. */
  readonly digest: Digest;
  /** `Content-Type` of the answer; empty where there was none. */
  readonly contentType: string;
  /** `Content-Length`, in bytes; `undefined` where there was none. */
  readonly size: number | undefined;
}

/** One repository of a registry, as one pull sees it. The signal of each method aborts it, with `ABORTED`. */
export interface Repository {
  /**
   * Fetches a manifest by tag, or by descriptor or digest, and verifies what it was asked by.
   *
   * @throws PassthroughError `IMAGE_NOT_FOUND`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, and those of every method:
   *   `REGISTRY_UNREACHABLE`, `REGISTRY_TIMEOUT`, `REGISTRY_DENIED`, `REGISTRY_RATE_LIMITED`, `REGISTRY_FAILED`,
   *   `REGISTRY_NOT_ALLOWED`, `ABORTED`
   */
  getManifest(reference: string | Descriptor, signal: AbortSignal): Promise<FetchedManifest>;

  /**
   * Asks what a tag or digest stands for now, without the bytes. The digest is the registry's word and proves
   * nothing: it may only be compared with one that the caller has verified itself, to learn whether a tag
   * still is what it was. Never take it for the digest of an image.
   *
   * @returns `undefined` where this way tells nothing: the registry names no digest, refuses HEAD, or has no
   *   such manifest. What is the matter, {@link getManifest} tells
   * @throws PassthroughError those of every method
   */
  headManifest(reference: string, signal: AbortSignal): Promise<ManifestHead | undefined>;

  /**
   * Lists the tags of the repository, all pages of them. Tags are taken as the registry gives them: whether
   * one keeps to the grammar is not looked at.
   *
   * @returns the tags in the registry's order, each once; empty for a repository without any
   * @throws PassthroughError `IMAGE_NOT_FOUND`, `REGISTRY_FAILED` also for what is no tag list or an endless
   *   one, and those of every method
   */
  listTags(signal: AbortSignal): Promise<readonly string[]>;

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

  /**
   * Asks whether the repository has a layer, and lets this pull have it, without fetching it. Says nothing of its bytes.
   *
   * @throws PassthroughError as {@link openLayer}, where it would not open
   */
  checkLayer(descriptor: Descriptor, signal: AbortSignal): Promise<void>;

  /**
   * Opens a layer that its descriptor names addresses for, as {@link openLayer} does. The registry is asked
   * first, as Docker and go-containerregistry do: many keep a copy, and it is the one place that credentials
   * may go. Whatever its failure, the descriptor's `urls` are tried next, in their order, without
   * credentials, until one answers; the stream goes on from there alone. Where they may lead,
   * {@link foreignUrl} says.
   *
   * @throws PassthroughError as {@link openLayer}, of the last address that was tried, those before it as
   *   hints; `REGISTRY_NOT_ALLOWED` and `UNSUPPORTED_IMAGE` for an address that must not or cannot be used
   */
  openForeignLayer(
    descriptor: Descriptor,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>>;
}
