import { isPassthroughError, PassthroughError } from '../../errors.ts';

/** What went wrong with a connection, in words, by the code that Node or OpenSSL gives. */
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

/** Failures that another attempt may well not meet. */
const PASSING = new Set(['ECONNRESET', 'EPIPE', 'ECONNREFUSED', 'ERR_STREAM_PREMATURE_CLOSE', 'EAI_AGAIN']);

/**
 * Codes of certificate verification: https://nodejs.org/api/tls.html#x509-certificate-error-codes. What begins with
 * `ERR_SSL` came from the server, such as that it wants a certificate of the client.
 */
const CERTIFICATE = /^(?!ERR_SSL).*(?:CERT|_ISSUER|_SIGNATURE|ALTNAME)/;

/**
 * Puts a failed connection into words: where to, why, and for certificates what to do.
 *
 * @param url where the connection went; only its origin is told
 * @param error what Node reported; an error of ours passes as it is
 */
export function connectionError(url: URL, error: unknown): PassthroughError {
  if (isPassthroughError(error)) return error;
  const code = systemCode(error);
  const text = error instanceof Error ? error.message : String(error);
  const isCertificate = code !== undefined && CERTIFICATE.test(code);
  const reason = isCertificate ? `its certificate is not trusted: ${text}` : (REASONS[code ?? ''] ?? text);
  return new PassthroughError(
    'REGISTRY_UNREACHABLE',
    `Cannot reach ${JSON.stringify(url.origin)}: ${reason}`,
    {
      cause: error,
      ...(isCertificate && {
        hints: ['A private certificate authority is trusted once NODE_EXTRA_CA_CERTS names its PEM file'],
      }),
    },
  );
}

/**
 * Says that a server took too long.
 *
 * @param phase what it was waited for
 * @param ms the limit that passed
 */
export function timeoutError(url: URL, phase: 'connect' | 'answer' | 'body', ms: number): PassthroughError {
  const what = { connect: 'no connection', answer: 'no answer', body: 'no further bytes' }[phase];
  return new PassthroughError(
    'REGISTRY_TIMEOUT',
    `Cannot read from ${JSON.stringify(url.origin)}: ${what} within ${ms / 1000} s`,
  );
}

/** Why a signal aborted: the reason itself where it is an error of ours, such as a time limit on the whole. */
export function abortedError(signal: AbortSignal): PassthroughError {
  const { reason } = signal;
  if (reason instanceof PassthroughError) return reason;
  return new PassthroughError('ABORTED', 'Stopped: nobody waits for the answer any more', { cause: reason });
}

/** Whether the same request, sent once more, may succeed. */
export function isPassing(error: unknown): boolean {
  return isPassthroughError(error, 'REGISTRY_UNREACHABLE') && PASSING.has(systemCode(error.cause) ?? '');
}

function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
