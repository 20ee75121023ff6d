import { hintsFor, messageFor } from '../config/hints.ts';
import { type ErrorCode, PassthroughError } from '../errors.ts';
import { printable, printableJson } from '../util/printable.ts';
import { qualityOf } from './routing/accept.ts';

/** An error as HTTP shows it. */
export interface Problem {
  readonly status: number;
  readonly title: string;
  readonly headers: Readonly<Record<string, string>>;
  /** What went wrong, in one line. */
  readonly detail: string;
  /** Further sentences for the reader. */
  readonly hints: readonly string[];
  readonly error: PassthroughError;
}

const PREPARATION = { status: 502, title: 'Failed to prepare image' };
const INTERNAL = { status: 500, title: 'Internal error' };

/** Status and title of each code: the error table of the service, which `docs/errors.md` repeats. */
export const PROBLEMS: Readonly<Record<ErrorCode, { readonly status: number; readonly title: string }>> = {
  INVALID_FILENAME: { status: 400, title: 'Invalid filename format' },
  INVALID_PLATFORM: { status: 400, title: 'Invalid platform' },
  INVALID_REGISTRY: { status: 400, title: 'Invalid registry' },
  INVALID_REFERENCE: { status: 400, title: 'Invalid image reference' },
  UNKNOWN_PARAMETER: { status: 400, title: 'Unknown parameter' },
  INVALID_REQUEST: { status: 400, title: 'Invalid request' },
  CREDENTIALS_REQUIRED: { status: 401, title: 'Registry credentials are required' },
  CROSS_SITE: { status: 403, title: 'Cross-site request' },
  REGISTRY_NOT_ALLOWED: { status: 403, title: 'Registry not allowed' },
  NOT_FOUND: { status: 404, title: 'Not found' },
  METHOD_NOT_ALLOWED: { status: 405, title: 'Method not allowed' },
  PRECONDITION_FAILED: { status: 412, title: 'Precondition failed' },
  REGISTRY_UNREACHABLE: PREPARATION,
  REGISTRY_DENIED: PREPARATION,
  IMAGE_NOT_FOUND: PREPARATION,
  PLATFORM_NOT_FOUND: PREPARATION,
  UNSUPPORTED_IMAGE: PREPARATION,
  VERIFICATION_FAILED: PREPARATION,
  REGISTRY_FAILED: PREPARATION,
  REGISTRY_RATE_LIMITED: { status: 503, title: 'Busy' },
  BUSY: { status: 503, title: 'Busy' },
  ABORTED: { status: 503, title: 'Busy' },
  REGISTRY_TIMEOUT: { status: 504, title: 'Registry timed out' },
  IMAGE_TOO_LARGE: { status: 507, title: 'Image too large' },
  NO_SPACE: { status: 507, title: 'No space' },
  CANNOT_WRITE: INTERNAL,
  DAMAGED: INTERNAL,
  INVALID_CONFIGURATION: INTERNAL,
  INVALID_ARCHIVE: INTERNAL,
  INTERNAL,
};

/** `Retry-After` in seconds, unless the error has one: the window of a rate limit is a minute at least. */
const DEFAULT_RETRY_AFTER_S = 60;

/**
 * Longest line of an error, in characters. Each quote in it is shorter: this is the guard for text that was quoted by another way.
 */
const MAX_DETAIL_LENGTH = 1000;

/** Longest list of images in an error, in characters. A bundle may have 32. */
const MAX_IMAGE_LENGTH = 1000;

/** The challenge to a client without credentials. Browsers show the realm, IOS does not. */
const BASIC_CHALLENGE = 'Basic realm="registry credentials"';

/**
 * Translates an error for HTTP. An error of another class is a fault of this program. Its text stays out of the answer, since it
 * may contain anything.
 */
export function problemOf(error: unknown): Problem {
  const known =
    error instanceof PassthroughError
      ? error
      : new PassthroughError('INTERNAL', 'The log tells more under the request id', { cause: error });
  const { status, title } = PROBLEMS[known.code];
  const headers: Record<string, string> = {};
  if (status === 401) headers['WWW-Authenticate'] = BASIC_CHALLENGE;
  if (status === 405) headers['Allow'] = (known.details.allow ?? []).join(', ');
  if (status === 503)
    headers['Retry-After'] = String(known.details.retryAfterSeconds ?? DEFAULT_RETRY_AFTER_S);
  const detail = printable(messageFor(known, 'service'), MAX_DETAIL_LENGTH);
  const hints = hintsFor(known, 'service').map((hint) => printable(hint, MAX_DETAIL_LENGTH));
  return { status, title, headers, detail, hints, error: known };
}

/** Whether an error counts as a failure of a span. A client's error leaves the status of its spans unset. */
export function isFailure(error: unknown): boolean {
  return problemOf(error).status >= 500;
}

/** What the answer takes from the request. */
export interface ProblemContext {
  readonly requestId: string;
  /** The image in full, if it is known. */
  readonly image: string | undefined;
}

/**
 * The body as plain text: one line that a switch console can show, then the facts.
 */
export function formatText(problem: Problem, context: ProblemContext): string {
  const { details, code } = problem.error;
  const facts = [
    ['image', shown(context.image)],
    ['error', code],
    ['registry status', details.registryStatus],
    ['registry code', shown(details.registryCode)],
    ['request', context.requestId],
  ].flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  return `${[`${problem.title}: ${problem.detail}`, '', ...problem.hints, ...facts].join('\n')}\n`;
}

function shown(text: string | undefined): string | undefined {
  return text === undefined ? undefined : printable(text, MAX_IMAGE_LENGTH);
}

/**
 * The body as a problem document.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9457#section-3
 */
export function formatJson(problem: Problem, context: ProblemContext): string {
  const { status, title, detail, hints, error } = problem;
  const { registryStatus, registryCode } = error.details;
  return `${printableJson({
    type: `urn:docker-http-passthrough:problem:${error.code.toLowerCase().replaceAll('_', '-')}`,
    title,
    status,
    detail,
    code: error.code,
    image: shown(context.image),
    registryStatus,
    registryCode: shown(registryCode),
    hints: hints.length === 0 ? undefined : hints,
    requestId: context.requestId,
  })}\n`;
}

/**
 * Whether a client prefers a problem document to text. Only one that names JSON does; curl and switches send a bare wildcard.
 *
 * @param accept the request's `Accept`
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.accept
 */
export function prefersJson(accept: string | undefined): boolean {
  const json = qualityOf(accept, 'application/problem+json', 'application/json');
  return json > 0 && json >= qualityOf(accept, 'text/plain', 'text/*');
}
