/** What the fake registry can do wrong: one switch for each misbehaviour. */

import type { OutgoingHttpHeaders } from 'node:http';

/**
 * A switch that works `times` times, or always if that is not given. The count belongs to the object: a new object
 * counts from 0.
 */
export interface Times {
  readonly times?: number;
}

/** A switch for one blob, or for all if `digest` is not given. */
export interface ForBlob extends Times {
  readonly digest?: string;
}

/** A switch for requests with one tag or digest, or for all if `reference` is not given. */
export interface ForManifest extends Times {
  readonly reference?: string;
}

/** A switch for requests whose `{METHOD} {path and query}` matches, or for all. */
export interface ForRequest extends Times {
  readonly pattern?: RegExp;
  /** The value of `Authorization`; any, unless given. */
  readonly authorization?: string;
}

/** An error that comes before any other check, also at the token endpoint. */
export interface FailWith extends ForRequest {
  readonly status: number;
  /** Such as `Retry-After`. */
  readonly headers?: OutgoingHttpHeaders;
  /** An OCI error document with the code of the status, unless given. */
  readonly body?: string | Buffer;
  /** Checks authorization first, so that only requests that the registry would serve fail. */
  readonly afterAuthorization?: boolean;
}

/** A redirect to elsewhere. */
export interface RedirectTo extends Times {
  /** `http://host:port`, or a function from the digest or reference to the whole `Location`. */
  readonly to: string | ((name: string) => string);
  /** 307 unless given. */
  readonly status?: number;
}

/** A body with additional bytes, which are made while they are sent. */
export interface Huge {
  readonly bytes: number;
  /** False: no `Content-Length`. */
  readonly contentLength?: boolean;
}

/** How a 206 lies about its range. */
export type ContentRangeLie =
  /** Header and body begin at byte 0, whatever was asked for. */
  | 'fromZero'
  /** The body is as asked for, the header says one byte further on. */
  | 'shifted'
  /** The header says another size of the whole. */
  | 'otherSize'
  | 'missing'
  | 'malformed';

/** Of a list, the first switch applies that fits and is not used up. */
export type OneOrMany<T> = T | readonly T[];

/** All switches. They can be set at any time and apply to the requests that arrive from then on. */
export interface Defects {
  /** One byte of the blob is flipped (the middle one), length and headers being right. */
  wrongBlobDigest?: true | OneOrMany<ForBlob> | undefined;
  /**
   * The blob is `by` bytes longer (zeros at its end) or shorter. `Content-Length` is the `actual` length (default),
   * that of the `descriptor`, or left out (`none`).
   */
  wrongBlobSize?:
    | OneOrMany<ForBlob & { readonly by: number; readonly contentLength?: 'actual' | 'descriptor' | 'none' }>
    | undefined;
  /** The socket is destroyed after so many bytes of an answer. */
  truncateBlob?: OneOrMany<ForBlob & { readonly afterBytes: number }> | undefined;
  /** Nothing more comes after so many bytes of an answer, until `releaseStalled()`. */
  stallBlob?: OneOrMany<ForBlob & { readonly afterBytes: number }> | undefined;
  /** 404 `BLOB_UNKNOWN`. */
  dropBlob?: true | OneOrMany<ForBlob> | undefined;
  /** A blob that is some image's config has so many spaces more at its end: more than its descriptor says. */
  hugeConfig?: Huge | undefined;
  /** `Range` is ignored: 200 and the whole blob. */
  noRange?: boolean | undefined;
  wrongContentRange?: ContentRangeLie | undefined;
  /**
   * Blobs are redirected to `{origin}/signed/{digest}?X-Amz-Signature=…&sig=…`, which every fake registry
   * answers, and `serveSignedBlobs` in a scripted server.
   */
  redirectBlobsTo?: string | RedirectTo | undefined;

  /**
   * Other bytes: valid JSON of the same length, in which one digest differs (or `bytes`). The headers are those
   * of the right manifest. `true` means what is asked for by digest.
   */
  wrongManifestDigest?: true | OneOrMany<ForManifest & { readonly bytes?: Buffer }> | undefined;
  /** The socket is destroyed after so many bytes of an answer. */
  truncateManifest?: OneOrMany<ForManifest & { readonly afterBytes: number }> | undefined;
  /** Not even headers come, until `releaseStalled()`. */
  stallManifest?: true | OneOrMany<ForManifest> | undefined;
  /** `Content-Type` of manifests; `null` leaves it out. */
  manifestContentType?: string | null | undefined;
  /** So many spaces follow the JSON. */
  hugeManifest?: Huge | undefined;
  /** Manifests are redirected to the same path, and a signed query, at another origin. */
  redirectManifestsTo?: string | RedirectTo | undefined;

  /** Most tags of a page, whatever is asked for. */
  tagPageSize?: number | undefined;
  /** The `Link` of a page, from the path and query of the next one. */
  tagLink?: ((next: string) => string | string[]) | undefined;

  /** `Docker-Content-Digest` of manifests and blobs: all zeros (`true`), some other text, or none (`null`). */
  wrongHeaderDigest?: true | string | null | undefined;
  /** Answers to these requests come without `Content-Length`, in chunks. */
  noContentLength?: ForRequest | undefined;
  /** The connection is reset before any answer. */
  resetConnections?: OneOrMany<ForRequest> | undefined;
  /** Not even headers come, until `releaseStalled()`. */
  stallRequests?: OneOrMany<ForRequest> | undefined;
  failWith?: OneOrMany<FailWith> | undefined;
  /** These requests are redirected to themselves; `endless` makes each hop a new URL. */
  redirectLoop?: (ForRequest & { readonly endless?: boolean }) | undefined;
  /** Error documents have so many spaces at their end. */
  hugeErrorBody?: Huge | undefined;
  /** Error documents quote the `Authorization` that came. */
  echoAuthorizationInErrors?: boolean | undefined;
}

/** Picks the switch that concerns a request, and counts how often each has been used. */
export class DefectPicker {
  readonly #uses = new WeakMap<object, number>();

  /**
   * @param defect the value of a switch; `true` is a switch without fields
   * @param concerns whether a switch applies to the current request
   * @returns the first such switch that is not used up, counted as used
   */
  pick<T extends Times>(
    defect: true | OneOrMany<T> | undefined,
    concerns: (one: T) => boolean = () => true,
  ): T | undefined {
    const all = defect === undefined ? [] : defect === true ? [{} as T] : isMany(defect) ? defect : [defect];
    const found = all.find(
      (one) => this.#used(one) < (one.times ?? Number.POSITIVE_INFINITY) && concerns(one),
    );
    if (found) {
      this.#uses.set(found, this.#used(found) + 1);
    }
    return found;
  }

  #used(defect: object): number {
    return this.#uses.get(defect) ?? 0;
  }
}

function isMany<T>(value: OneOrMany<T>): value is readonly T[] {
  return Array.isArray(value);
}
