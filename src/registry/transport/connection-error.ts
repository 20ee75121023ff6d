import { isPassthroughError, PassthroughError } from '../../errors.ts';
import { systemErrorCode } from '../../util/system-error.ts';

/** Reasons by the error code of Node or OpenSSL. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection broke off',
  EPIPE: 'the connection broke off',
  ERR_STREAM_PREMATURE_CLOSE: 'the connection broke off',
  ETIMEDOUT: 'no answer to the connection attempt',
  ENOTFOUND: 'the name does not exist',
  EAI_AGAIN: 'the name server does not answer',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it wants a certificate of the client',
};

/** Codes of failures that may not occur on another attempt. */
const TRANSIENT = new Set(['ECONNRESET', 'EPIPE', 'ECONNREFUSED', 'ERR_STREAM_PREMATURE_CLOSE', 'EAI_AGAIN']);

/**
 * Codes of certificate verification: https://nodejs.org/api/tls.html#x509-certificate-error-codes. A code that starts
 * with `ERR_SSL` is an alert of the server, for example that it requires a client certificate.
 */
const CERTIFICATE = /^(?!ERR_SSL).*(?:CERT|_ISSUER|_SIGNATURE|ALTNAME)/;

/**
 * Makes an error from a failed connection: origin, reason, and for certificates a hint.
 *
 * @param url of the request; only its origin is shown
 * @param error the error of Node; a `PassthroughError` is returned unchanged
 * @returns an error `REGISTRY_UNREACHABLE`
 */
export function connectionError(url: URL, error: unknown): PassthroughError {
  if (isPassthroughError(error)) return error;
  const code = systemErrorCode(error);
  const text = error instanceof Error ? error.message : String(error);
  const isCertificate = code !== undefined && CERTIFICATE.test(code);
  const reason = isCertificate ? `its certificate is not trusted: ${text}` : (REASONS[code ?? ''] ?? text);
  return new PassthroughError(
    'REGISTRY_UNREACHABLE',
    `Cannot reach ${JSON.stringify(url.origin)}: ${reason}`,
    {
      cause: error,
      ...(isCertificate && { setting: 'trustedCertificates' as const }),
    },
  );
}

/**
 * Makes an error `REGISTRY_TIMEOUT`.
 *
 * @param phase of the request in which the limit expired
 * @param ms the limit, in milliseconds
 */
export function timeoutError(url: URL, phase: 'connect' | 'answer' | 'body', ms: number): PassthroughError {
  const what = { connect: 'no connection', answer: 'no answer', body: 'no further bytes' }[phase];
  return new PassthroughError(
    'REGISTRY_TIMEOUT',
    `Cannot read from ${JSON.stringify(url.origin)}: ${what} within ${ms / 1000} s`,
  );
}

/**
 * Makes an error from an aborted signal.
 *
 * @returns the signal's reason if it is a `PassthroughError`, such as a time limit of the whole pull; else an error
 *   `ABORTED`
 */
export function abortedError(signal: AbortSignal): PassthroughError {
  const { reason } = signal;
  if (reason instanceof PassthroughError) return reason;
  return new PassthroughError('ABORTED', 'Stopped: no caller waits for the answer any more', {
    cause: reason,
  });
}

/** Whether the same request may succeed on another attempt. */
export function isTransient(error: unknown): boolean {
  return (
    isPassthroughError(error, 'REGISTRY_UNREACHABLE') && TRANSIENT.has(systemErrorCode(error.cause) ?? '')
  );
}
