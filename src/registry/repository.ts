import type { Digest } from '../image/digest.ts';
import type { Descriptor } from '../image/manifest.ts';
import type { Content } from '../util/content.ts';
import type { IsWanted, ReferrerList } from './referrers.ts';

/** A repository and its registry. */
export interface RepositoryLocation {
  /** Origin of the registry: scheme, host and port. */
  readonly origin: string;
  /** Name of the repository in the registry, such as `library/nginx`; behind it `?ns=` if a mirror is asked for a namespace. */
  readonly name: string;
}

/** A manifest as the registry sent it, its bytes verified. */
export interface FetchedManifest {
  /** The holder must release it. */
  readonly content: Content;
  /** Digest computed from the bytes. */
  readonly digest: Digest;
  /** `Content-Type` of the response; empty if it has none. */
  readonly contentType: string;
  /** Age of a cached manifest in milliseconds, if the registry could not confirm it now; absent for a current one. */
  readonly staleMs?: number;
}

/** What a HEAD response says about a manifest. Nothing is verified. */
export interface ManifestHead {
  /** `Docker-Content-Digest`: a claim of the registry. */
  readonly digest: Digest;
  /** `Content-Type` of the response; empty if it has none. */
  readonly contentType: string;
  /** `Content-Length`, in bytes; `undefined` if there is none. */
  readonly size: number | undefined;
}

/** One repository of a registry, for one pull. Each method takes a signal; an aborted signal rejects it with `ABORTED`. */
export interface Repository {
  /**
   * Fetches a manifest by tag, digest or descriptor. Verifies the digest, and the size that a descriptor names.
   *
   * @throws PassthroughError `IMAGE_NOT_FOUND`, `VERIFICATION_FAILED`, `IMAGE_TOO_LARGE`, and the errors of every method:
   *   `REGISTRY_UNREACHABLE`, `REGISTRY_TIMEOUT`, `REGISTRY_DENIED`, `REGISTRY_RATE_LIMITED`, `REGISTRY_FAILED`,
   *   `REGISTRY_NOT_ALLOWED`, `ABORTED`
   */
  getManifest(reference: string | Descriptor, signal: AbortSignal): Promise<FetchedManifest>;

  /**
   * Asks for the current digest of a tag or digest, without the manifest. The digest is a claim. Compare it only with a
   * digest that the caller has verified, to learn whether a tag has moved. Never use it as the digest of an image.
   *
   * @returns `undefined` if HEAD gives no result: the registry names no digest, refuses HEAD, or has no such manifest.
   *   {@link getManifest} gives the reason
   * @throws PassthroughError the errors of every method
   */
  headManifest(reference: string, signal: AbortSignal): Promise<ManifestHead | undefined>;

  /**
   * Lists all tags of the repository, page by page as the registry sends them. Does not check them against the grammar of tags.
   *
   * @returns each tag once, in the registry's order; nothing for a repository without tags
   * @throws while it is read, PassthroughError `IMAGE_NOT_FOUND`; `REGISTRY_FAILED` also for a response that is no tag list and for an
   *   endless list; the errors of every method
   */
  listTags(signal: AbortSignal): AsyncGenerator<readonly string[], void, undefined>;

  /**
   * Lists the manifests that name a manifest as their subject, such as its signatures.
   *
   * @param isWanted others are counted only
   * @returns `undefined` if the registry has no referrers API. It may then have them as an index under a tag
   * @throws PassthroughError `REGISTRY_FAILED` also for a response that is no list; the errors of every method
   */
  getReferrers(digest: Digest, isWanted: IsWanted, signal: AbortSignal): Promise<ReferrerList | undefined>;

  /**
   * Fetches a whole config blob, or another small one, and verifies it.
   *
   * @returns its bytes, which the caller must release
   * @throws PassthroughError as {@link getManifest}
   */
  getConfig(descriptor: Descriptor, signal: AbortSignal): Promise<Content>;

  /**
   * Opens a layer blob. Resolves when the registry has responded. The bytes are not verified. A broken connection is
   * resumed. The caller must read the stream to its end, call `return()`, or abort.
   *
   * @param offset bytes at the start of the blob that the caller has already; none unless given
   * @throws PassthroughError as {@link getManifest}; while reading, `REGISTRY_UNREACHABLE` and `REGISTRY_TIMEOUT` only
   *   after several attempts
   */
  openLayer(
    descriptor: Descriptor,
    signal: AbortSignal,
    offset?: number,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>>;

  /**
   * Takes note that what {@link openLayer} gave is not the layer. Sources that gave a part are not asked for it again by this pull.
   * Absent where there is one source.
   *
   * @returns whether another source can be asked: open the layer again, from its start
   */
  rejectLayer?(descriptor: Descriptor): boolean;

  /**
   * Checks, without fetching it, that the repository has a layer and that this pull may read it. Does not check its bytes.
   *
   * @throws PassthroughError as {@link openLayer}
   */
  checkLayer(descriptor: Descriptor, signal: AbortSignal): Promise<void>;

  /**
   * Opens a layer whose descriptor has `urls`, as {@link openLayer} does. Asks the registry first, as Docker and
   * go-containerregistry do: many registries keep a copy, and only the registry may receive credentials. After any
   * failure tries the URLs in their order, without credentials, until one responds. A stream that breaks off is resumed
   * at the same source. {@link foreignUrl} says which URLs are allowed.
   *
   * @throws PassthroughError as {@link openLayer}: the error of the last URL, with the earlier errors as hints;
   *   `REGISTRY_NOT_ALLOWED` and `UNSUPPORTED_IMAGE` for a URL that is forbidden or unusable
   */
  openForeignLayer(
    descriptor: Descriptor,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<Uint8Array, void, undefined>>;
}
