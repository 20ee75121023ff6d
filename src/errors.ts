/**
 * The one error class of the product, and the list of its codes. Each face has a table of what a code means there: an HTTP
 * status and title (`http/problem.ts`), an exit code (`cli/output/error-lines.ts`).
 */

/** All reasons for which the product refuses or fails. A code names the cause, not the place where it was found. */
export type ErrorCode =
  /** A file name does not follow the filename grammar. */
  | 'INVALID_FILENAME'
  /** A platform is not `os/arch[/variant]`, or has a part that does not exist. */
  | 'INVALID_PLATFORM'
  /** The scheme or host of a registry is malformed. */
  | 'INVALID_REGISTRY'
  /** A repository, tag, digest or the whole request path is malformed. */
  | 'INVALID_REFERENCE'
  /** A query parameter means nothing for the route. */
  | 'UNKNOWN_PARAMETER'
  /** The header of a request is malformed, or a parameter of a route that asks for no image. */
  | 'INVALID_REQUEST'
  /** A configuration variable or the command line has a value that is not allowed. */
  | 'INVALID_CONFIGURATION'
  /** The client must send Basic credentials, and sent none or malformed ones. */
  | 'CREDENTIALS_REQUIRED'
  /** A page of another site makes a request with credentials, or one that changes something. */
  | 'CROSS_SITE'
  /** The client is in no network that is served, or that may ask for this. */
  | 'CLIENT_NOT_ALLOWED'
  /** The service does not answer for the host that the request names. */
  | 'HOST_NOT_ALLOWED'
  /** Plain http is for probes alone. */
  | 'HTTPS_REQUIRED'
  /** Policy forbids this registry, or the address it resolves to. */
  | 'REGISTRY_NOT_ALLOWED'
  /** Policy asks for a signature of this image, and none that is valid was found. */
  | 'IMAGE_NOT_SIGNED'
  /** No such route. */
  | 'NOT_FOUND'
  /** The route does not have this method. */
  | 'METHOD_NOT_ALLOWED'
  /** A condition of the request does not hold, or a range may belong to another file. */
  | 'PRECONDITION_FAILED'
  /** The connection to the registry or its token endpoint failed or broke: DNS, route, port, TLS, reset. */
  | 'REGISTRY_UNREACHABLE'
  /** The registry answered 401 or 403 to the best credentials that it may get. */
  | 'REGISTRY_DENIED'
  /** The registry has no such repository, tag, manifest or blob. */
  | 'IMAGE_NOT_FOUND'
  /** The image is not offered for the platform. */
  | 'PLATFORM_NOT_FOUND'
  /** A manifest or config cannot become an archive: schema 1, an artifact, malformed JSON. */
  | 'UNSUPPORTED_IMAGE'
  /** Bytes do not have the digest or size of their descriptor. */
  | 'VERIFICATION_FAILED'
  /** The registry answered against the protocol, or with 5xx after all retries. */
  | 'REGISTRY_FAILED'
  /** The registry answered 429. */
  | 'REGISTRY_RATE_LIMITED'
  /** The registry did not accept, answer or continue in time. */
  | 'REGISTRY_TIMEOUT'
  /** All permits for preparations are taken and their queue is full, or the service is stopping. */
  | 'BUSY'
  /** A file is no archive of images, or its entries cannot be trusted. */
  | 'INVALID_ARCHIVE'
  /** The image is larger than the configured limits. */
  | 'IMAGE_TOO_LARGE'
  /** The disk is full. */
  | 'NO_SPACE'
  /** The file that an image is pulled to cannot be written: no such folder, no permission, a folder in its place. */
  | 'CANNOT_WRITE'
  /** A prepared file has changed on the disk, or the disk cannot read it. */
  | 'DAMAGED'
  /** The work was stopped because its client has left. */
  | 'ABORTED'
  /** A fault in this program. */
  | 'INTERNAL';

/** A setting that decides whether a request is served. */
export type Setting =
  | 'allowedHosts'
  | 'bufferedBytes'
  | 'cacheDirectory'
  | 'caCert'
  | 'clientCert'
  | 'clientKey'
  | 'compressedBytes'
  | 'foreignLayers'
  | 'clientIdentity'
  | 'plainHttpHosts'
  | 'serverCertificate'
  | 'tlsAtRegistry'
  | 'signatureKeys'
  | 'signatureRepository'
  | 'trustedCertificates'
  | 'trustedRealms'
  | 'uncompressedBytes'
  | 'workspaceDirectory';

/**
 * Where the credentials of a request come from: the client, the operator's user name, the operator's bearer token, an auth file, or
 * a helper program that it names.
 */
export type CredentialOrigin = 'none' | 'client' | 'environment' | 'token' | 'file' | 'helper';

/** What a user may write to a file system. */
export interface DiskSpace {
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Files that can still be created; `undefined` where the file system has no such limit. */
  readonly freeFiles: number | undefined;
}

/** Facts beside a message, for logs and error bodies. Never a credential. */
export interface ErrorDetails {
  /** HTTP status from the registry or token endpoint. */
  readonly registryStatus?: number;
  /** Error code from the registry, such as `MANIFEST_UNKNOWN` (OCI distribution specification, "Error Codes"). */
  readonly registryCode?: string;
  /** Whose credentials a registry has refused; the face names the variable or option. */
  readonly credentials?: CredentialOrigin;
  /** Seconds to wait before a new attempt. */
  readonly retryAfterSeconds?: number;
  /** Methods of the route, for `METHOD_NOT_ALLOWED`. */
  readonly allow?: readonly string[];
  /** Further sentences for the reader, one a line. */
  readonly hints?: readonly string[];
  /** The base of an update archive in full, if the error is about it and not about the image. */
  readonly base?: string;
  /** Which setting decides this; the face names the variable or flag. */
  readonly setting?: Setting;
  /** What the image offers, for `PLATFORM_NOT_FOUND`. */
  readonly offered?: readonly string[];
  /** The signal that ended the work, for `ABORTED`. */
  readonly signal?: string;
  /** Folder of the configuration that cannot be used, and why, for `INVALID_CONFIGURATION`; that of the full disk for `NO_SPACE`. */
  readonly folder?: string;
  /** The full disk, for `NO_SPACE`. */
  readonly disk?: DiskSpace;
  readonly reason?: string;
  /** Digest of the descriptor, for `VERIFICATION_FAILED`. */
  readonly expected?: string;
  /** Digest of the bytes, for `VERIFICATION_FAILED`. */
  readonly actual?: string;
}

/**
 * An error with a message for users: action, quoted value, reason, no full stop:
 * `Cannot parse filename "nginx.tar": no underscore separates image and tag`.
 */
export class PassthroughError extends Error {
  override readonly name = 'PassthroughError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  /**
   * @param message one line
   * @param details facts, and `cause`, the underlying error
   */
  constructor(code: ErrorCode, message: string, details: ErrorDetails & { readonly cause?: unknown } = {}) {
    const { cause, ...rest } = details;
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = rest;
  }
}

/** Whether `error` is a {@link PassthroughError} with one of `codes`; without `codes`, with any code. */
export function isPassthroughError(
  error: unknown,
  ...codes: readonly ErrorCode[]
): error is PassthroughError {
  return error instanceof PassthroughError && (codes.length === 0 || codes.includes(error.code));
}

/**
 * Whether a failure may depend on the account that a registry was asked with: it has no right, or has asked too often. Such an
 * answer says nothing about another account. A registry that cannot be reached or fails with 5xx is down for all.
 */
export function dependsOnAccount(error: unknown): boolean {
  if (isPassthroughError(error, 'REGISTRY_DENIED', 'IMAGE_NOT_FOUND', 'REGISTRY_RATE_LIMITED')) return true;
  return isPassthroughError(error, 'REGISTRY_FAILED') && (error.details.registryStatus ?? 0) < 500;
}

/** Failures that concern one caller alone. Another caller may have another image or repository. */
const PERSONAL = [
  'REGISTRY_DENIED',
  'REGISTRY_NOT_ALLOWED',
  'IMAGE_NOT_FOUND',
  'UNSUPPORTED_IMAGE',
  'VERIFICATION_FAILED',
] as const;

/**
 * Whether the failure of one caller's work on a layer or document says nothing about another caller of the same work.
 *
 * @param isSameAccount whether both have the same account
 */
export function isPersonal(error: unknown, isSameAccount: boolean): boolean {
  return isPassthroughError(error, ...PERSONAL) || (!isSameAccount && dependsOnAccount(error));
}
