/**
 * The one error class of the product, and the list of its codes. What a code means to somebody outside
 * (an HTTP status and title, an exit code) is a table at the edge that meets them: `http/problem.ts`, `main.ts`.
 */

/** Every way in which the product can refuse or fail. Each names its cause, not the place it was found in. */
export type ErrorCode =
  /** A file name does not follow the filename grammar. */
  | 'INVALID_FILENAME'
  /** A platform is not `os/arch[/variant]`, or names one that does not exist. */
  | 'INVALID_PLATFORM'
  /** The scheme or host of a registry cannot be read. */
  | 'INVALID_REGISTRY'
  /** A repository, tag, digest or the request path as a whole cannot be read. */
  | 'INVALID_REFERENCE'
  /** A configuration variable has a value that is not allowed. */
  | 'INVALID_CONFIGURATION'
  /** The client must send Basic credentials and sent none, or none that can be read. */
  | 'CREDENTIALS_REQUIRED'
  /** Policy forbids this registry, or the address it resolves to. */
  | 'REGISTRY_NOT_ALLOWED'
  /** No such route. */
  | 'NOT_FOUND'
  /** The route exists, the method does not. */
  | 'METHOD_NOT_ALLOWED'
  /** No connection to the registry or its token endpoint: name, route, port, TLS, or cut off. */
  | 'REGISTRY_UNREACHABLE'
  /** The registry answered 401 or 403 to the best credentials that may be sent. */
  | 'REGISTRY_DENIED'
  /** The registry has no such repository, tag, manifest or blob. */
  | 'IMAGE_NOT_FOUND'
  /** The image is not offered for the platform. */
  | 'PLATFORM_NOT_FOUND'
  /** A manifest or config is of a kind that cannot become an archive: schema 1, an artifact, malformed JSON. */
  | 'UNSUPPORTED_IMAGE'
  /** Bytes do not have the digest or size that their descriptor names. */
  | 'VERIFICATION_FAILED'
  /** The registry answered with something that the protocol does not allow, or with a lasting 5xx. */
  | 'REGISTRY_FAILED'
  /** The registry asks for fewer requests. */
  | 'REGISTRY_RATE_LIMITED'
  /** The registry did not connect, answer or go on sending in time. */
  | 'REGISTRY_TIMEOUT'
  /** All places for preparations, and the queue for them, are taken; or the service is stopping. */
  | 'BUSY'
  /** The image is larger than the configured limits. */
  | 'IMAGE_TOO_LARGE'
  /** The disk is full. */
  | 'NO_SPACE'
  /** A prepared file is not as it was written: the disk has changed it, or cannot read it any more. */
  | 'DAMAGED'
  /** Whoever asked has left: the work was stopped. */
  | 'ABORTED'
  /** A fault of this program. */
  | 'INTERNAL';

/** Plain facts beside a message, for logs and error bodies. Never a credential. */
export interface ErrorDetails {
  /** HTTP status that the registry or token endpoint gave. */
  readonly registryStatus?: number;
  /** Error code that the registry gave, such as `MANIFEST_UNKNOWN` (OCI distribution, "Error Codes"). */
  readonly registryCode?: string;
  /** Seconds after which a new attempt makes sense. */
  readonly retryAfterSeconds?: number;
  /** Methods that the route has, for `METHOD_NOT_ALLOWED`. */
  readonly allow?: readonly string[];
  /** Further lines for a person, each a sentence. */
  readonly hints?: readonly string[];
  /** Folder of the configuration that cannot be used, and why, for `INVALID_CONFIGURATION`. */
  readonly folder?: string;
  readonly reason?: string;
  /** Expected and actual digest, for `VERIFICATION_FAILED`. */
  readonly expected?: string;
  readonly actual?: string;
}

/**
 * An error that a user is meant to read. The message says action, quoted value, then why, with no full stop:
 * `Cannot parse filename "nginx.tar": no underscore separates image and tag`.
 */
export class PassthroughError extends Error {
  override readonly name = 'PassthroughError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  /**
   * @param code which of the listed failures this is
   * @param message one line for a person
   * @param details plain facts, and `cause`, the error underneath
   */
  constructor(code: ErrorCode, message: string, details: ErrorDetails & { readonly cause?: unknown } = {}) {
    const { cause, ...rest } = details;
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = rest;
  }
}

/** Whether `error` is a {@link PassthroughError}, and of one of `codes` where any are given. */
export function isPassthroughError(
  error: unknown,
  ...codes: readonly ErrorCode[]
): error is PassthroughError {
  return error instanceof PassthroughError && (codes.length === 0 || codes.includes(error.code));
}
