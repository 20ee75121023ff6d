import { type ErrorCode, PassthroughError } from '../errors.ts';
import { readStart } from './read-bounded.ts';
import { retryAfterSeconds } from './transport/retry.ts';
import type { TransportResponse } from './transport/transport.ts';

/** Most bytes of an error body that are read unless configured: an OCI error takes a few hundred. */
export const DEFAULT_MAX_ERROR_BYTES = 64 * 1024;

/** Longest part of a server's own words that is passed on: a console shows one line. */
const MAX_QUOTE_LENGTH = 200;

/**
 * Makes an error of an answer that is not the hoped-for one. Whatever the server says of it comes along: its error code
 * and message as the distribution specification has them, without control characters and without the secrets that the
 * request carried.
 *
 * @param response its body is read or given up here
 * @param action what failed, as the start of the message
 * @param maxBytes most bytes of the body that are read
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
 */
export async function errorFromResponse(
  response: TransportResponse,
  action: string,
  maxBytes = DEFAULT_MAX_ERROR_BYTES,
): Promise<PassthroughError> {
  const { status, headers, secrets } = response;
  const { code, message } = parseErrors(await readStart(response, maxBytes), secrets);
  const said = [message, code && `(${code})`].filter((part) => part !== undefined).join(' ');
  const reason = REASONS[status] ?? `the answer is ${status}`;
  const retryAfter = retryAfterSeconds(headers['retry-after']);
  return new PassthroughError(codeForStatus(status), `${action}: ${reason}${said && `: ${said}`}`, {
    registryStatus: status,
    ...(code !== undefined && { registryCode: code }),
    ...(retryAfter !== undefined && { retryAfterSeconds: retryAfter }),
  });
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

/** The first error of `{"errors":[{"code","message"}]}`, or the message of what token servers answer. */
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
  const words = quote(first['message'] ?? details ?? message ?? description, secrets);
  return { ...(code !== undefined && { code }), ...(words !== undefined && { message: words }) };
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** A server's words as they may be shown: without secrets, one line, no control characters, not too long. */
function quote(value: unknown, secrets: readonly string[]): string | undefined {
  if (typeof value !== 'string') return undefined;
  // Secrets go first: cut or joined, one could no longer be found.
  const clean = secrets
    .filter((secret) => secret !== '')
    .reduce((text, secret) => text.replaceAll(secret, '[redacted]'), value);
  const line = clean.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
  if (line === '') return undefined;
  return line.length > MAX_QUOTE_LENGTH ? `${line.slice(0, MAX_QUOTE_LENGTH)}…` : line;
}
