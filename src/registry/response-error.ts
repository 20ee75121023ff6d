import {
  type CredentialOrigin,
  type ErrorCode,
  type ErrorDetails,
  isPassthroughError,
  PassthroughError,
} from '../errors.ts';
import { essence } from '../image/media-type.ts';
import type { Content } from '../util/content.ts';
import { printable, quoted } from '../util/printable.ts';
import { type HashedContent, readStart } from './read-bounded.ts';
import { retryAfterSeconds } from './transport/retry.ts';
import type { CredentialUse, TransportResponse } from './transport/transport.ts';

/** Most bytes of an error body to read, unless configured. An OCI error has a few hundred. */
export const DEFAULT_MAX_ERROR_BYTES = 64 * 1024;

/** Bytes in which the first tag of a web page begins. */
const MAX_SPACE_BEFORE_TAG = 64;

/**
 * Makes an error from an unexpected response. Quotes the server's error code and message in the form of the distribution
 * specification, printable and without the secrets of the request.
 *
 * @param response its body is read or discarded here
 * @param action start of the message: what failed
 * @param maxBytes most bytes of the body to read
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
 */
export async function errorFromResponse(
  response: TransportResponse,
  action: string,
  maxBytes = DEFAULT_MAX_ERROR_BYTES,
): Promise<PassthroughError> {
  const { status, headers, secrets, credentials, url } = response;
  const start = await readStart(response, maxBytes);
  if (status === 400 && url.protocol === 'http:' && SPEAKS_TLS.test(Buffer.from(start).toString('latin1')))
    return new PassthroughError('REGISTRY_FAILED', `${action}: it speaks https, and was asked over http`, {
      registryStatus: status,
      setting: 'tlsAtRegistry',
    });
  const { code, message } = parseErrors(start, secrets);
  if (status === 404 && code === undefined && isHtml(headers['content-type']))
    return noRegistry(action, status);
  const said = [message, code && `(${code})`].filter((part) => part !== undefined).join(' ');
  const reason = refusalReason(status, credentials) ?? REASONS[status] ?? `the answer is ${status}`;
  const retryAfter = retryAfterSeconds(headers['retry-after']);
  return new PassthroughError(codeForStatus(status), `${action}: ${reason}${said && `: ${said}`}`, {
    registryStatus: status,
    ...(isRefusal(status) && credentials !== undefined && detailsOf(credentials)),
    ...(code !== undefined && { registryCode: code }),
    ...(retryAfter !== undefined && { retryAfterSeconds: retryAfter }),
  });
}

/**
 * Waits for a document, and refuses a web page in its place: a host that is mistyped, or a login page on the way.
 *
 * @param action start of the message: what failed
 * @param reading reads the body of the response and verifies it
 * @throws PassthroughError `REGISTRY_FAILED`; what reading throws
 */
export async function refusingHtml(
  { status, headers }: TransportResponse,
  action: string,
  reading: Promise<HashedContent>,
): Promise<HashedContent> {
  if (!isHtml(headers['content-type'])) return await reading;
  try {
    const body = await reading;
    // Some proxies call everything HTML, so that the first character decides.
    const start = await startOf(body.content);
    if (!/^\uFEFF?\s*</.test(start)) return body;
    body.content.release();
  } catch (error) {
    if (!isPassthroughError(error, 'VERIFICATION_FAILED')) throw error;
  }
  throw noRegistry(action, status);
}

async function startOf(content: Content): Promise<string> {
  const end = Math.min(content.size, MAX_SPACE_BEFORE_TAG);
  const chunks = await Array.fromAsync(content.read({ start: 0, end }));
  return Buffer.concat(chunks).toString('utf8');
}

function isHtml(contentType: string | undefined): boolean {
  return essence(contentType ?? '') === 'text/html';
}

function noRegistry(action: string, status: number): PassthroughError {
  return new PassthroughError('REGISTRY_FAILED', `${action}: this is no registry, it answered HTML`, {
    registryStatus: status,
    hints: ['Check host and port; a login page on the way answers HTML, too'],
  });
}

/**
 * Whether GET may succeed although HEAD gets this status: the server may not support HEAD (405, 501), may have signed
 * the URL for GET alone (403), or may lack the manifest (404). Without a body the reason is unknown.
 */
export function isInconclusive(status: number): boolean {
  return status === 501 || (status >= 400 && status < 500 && status !== 401 && status !== 429);
}

/**
 * What servers for https answer to a request over http: those in Go (docker-registry, Harbor's core), nginx, Apache, HAProxy.
 *
 * @see https://github.com/golang/go/blob/go1.24.0/src/net/http/server.go#L1967
 */
const SPEAKS_TLS =
  /sent an HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS port|speaking plain HTTP to an SSL-enabled server/i;

/** Names of credentials in messages. A face puts the variable or option in their place: see `config/hints.ts`. */
export const CREDENTIAL_NAMES: Readonly<Record<Exclude<CredentialOrigin, 'none'>, string>> = {
  client: "the client's credentials",
  environment: "the operator's credentials",
  token: "the operator's token",
  file: 'the credentials of the auth file',
  helper: 'the credentials of the credential helper',
};

function detailsOf({ origin, way }: CredentialUse): ErrorDetails {
  const isWithheld = way === 'withheld' && origin !== 'none';
  return { credentials: origin, ...(isWithheld && { setting: 'trustedRealms' as const }) };
}

function isRefusal(status: number): boolean {
  return status === 401 || status === 403;
}

/**
 * Why a registry or a token endpoint has refused a request, and whose credentials it had. A registry that answers 401 to a new token
 * knows the user, and finds no right in the token.
 */
function refusalReason(status: number, use: CredentialUse | undefined): string | undefined {
  if (!isRefusal(status) || use === undefined) return undefined;
  const { origin, way, realm = '' } = use;
  if (origin === 'none')
    return status === 401
      ? 'credentials are required, and there are none'
      : 'access is denied without credentials';
  const name = CREDENTIAL_NAMES[origin];
  if (way === 'unasked')
    return status === 401
      ? `it asks for other credentials than ${name}`
      : 'access is denied, and it asks for no credentials';
  if (way === 'withheld')
    return `credentials are required, and its token endpoint ${quoted(realm)} may not receive ${name}`;
  return status === 401 && way === 'direct' ? `it refused ${name}` : `access is denied to ${name}`;
}

const REASONS: Readonly<Record<number, string>> = {
  401: 'authentication is required or was refused',
  403: 'access is denied',
  404: 'not found',
  429: 'too many requests',
};

function codeForStatus(status: number): ErrorCode {
  if (status === 401 || status === 403) return 'REGISTRY_DENIED';
  if (status === 404) return 'IMAGE_NOT_FOUND';
  if (status === 429) return 'REGISTRY_RATE_LIMITED';
  return 'REGISTRY_FAILED';
}

/** Reads the first error of `{"errors":[{"code","message"}]}`, or the message of a token server's own format. */
function parseErrors(bytes: Uint8Array, secrets: readonly string[]): { code?: string; message?: string } {
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return {};
  }
  const { errors, details, message, error_description: description } = record(body);
  const first = record(Array.isArray(errors) ? errors[0] : undefined);
  const code = quote(first['code'], secrets);
  const text = quote(first['message'] ?? details ?? message ?? description, secrets);
  return { ...(code !== undefined && { code }), ...(text !== undefined && { message: text }) };
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** A server's text on one line, without the secrets of the request, printable and short. */
function quote(value: unknown, secrets: readonly string[]): string | undefined {
  if (typeof value !== 'string') return undefined;
  // Secrets are redacted first: after escaping or cutting, a secret would no longer be found.
  const clean = secrets
    .filter((secret) => secret !== '')
    .reduce((text, secret) => text.replaceAll(secret, '[redacted]'), value);
  const line = clean.replace(/\s+/g, ' ').trim();
  return line === '' ? undefined : printable(line);
}
