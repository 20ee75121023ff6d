import type { DetailedPeerCertificate } from 'node:tls';
import { isPassthroughError, PassthroughError, type Setting } from '../../errors.ts';
import { printable, quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { certificateFault } from './certificate-error.ts';

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
};

/**
 * What OpenSSL says when the other side does not speak TLS: its answer is no record of TLS.
 *
 * @see https://github.com/openssl/openssl/blob/openssl-3.5.0/ssl/record/methods/tlsany_meth.c
 */
const NO_TLS = /wrong version number|packet length too long|http request|unknown protocol/i;

/** Alerts of a server that wants a certificate of the client, or another one than it got: RFC 8446, section 6.2. */
const CLIENT_CERTIFICATE_ALERT =
  /alert (?:certificate required|bad certificate|unknown ca|certificate unknown|certificate expired|certificate revoked|unsupported certificate|access denied)/i;

/** What servers answer that want a client certificate, over TLS 1.2, and such that know no cipher of the client. */
const HANDSHAKE_ALERT = /alert handshake failure/i;

/** First byte of a record of TLS that is an alert or a handshake: RFC 8446, section 5.1. */
const TLS_RECORD: ReadonlySet<number | undefined> = new Set([0x15, 0x16]);

/** Most of a text of Node that is read, in characters. The text of a certificate's names has no limit. */
const MAX_TEXT_LENGTH = 1000;

/** Codes of failures that may not occur on another attempt. */
const TRANSIENT = new Set(['ECONNRESET', 'EPIPE', 'ECONNREFUSED', 'ERR_STREAM_PREMATURE_CLOSE', 'EAI_AGAIN']);

/** Codes of a connection that the server has closed. */
const BROKEN = new Set(['ECONNRESET', 'EPIPE']);

/**
 * Codes of certificate verification: https://nodejs.org/api/tls.html#x509-certificate-error-codes. A code that starts
 * with `ERR_SSL` is an alert of the server, for example that it requires a client certificate.
 */
const CERTIFICATE = /^(?!ERR_SSL).*(?:CERT|_ISSUER|_SIGNATURE|ALTNAME)/;

/** Addresses in a text of Node, with their ports: they are those of name servers, proxies and this machine. */
const ADDRESS =
  /(?<![\w.])(?:\d{1,3}(?:\.\d{1,3}){3}|\[?[0-9a-f]{0,4}:[0-9a-f:.]{1,45}\]?)(?::\d{1,5})?(?![\w.])/gi;

/** What is known of a connection that has failed. */
export interface ConnectionFacts {
  /** Certificate of the server. */
  readonly certificate?: DetailedPeerCertificate | undefined;
  /** Whether the server could get a certificate of the client. */
  readonly hasIdentity?: boolean | undefined;
  /** Whether the server has sent nothing. */
  readonly isSilent?: boolean | undefined;
}

/**
 * Makes an error from a failed connection: origin, reason, and for certificates a hint. Clients read the message, so no address
 * that the request does not name is in it: neither that of a proxy nor one behind a name. The cause has them.
 *
 * @param url of the request; only its origin is shown
 * @param error the error of Node; a `PassthroughError` is returned unchanged
 * @returns an error `REGISTRY_UNREACHABLE`
 */
export function connectionError(url: URL, error: unknown, facts: ConnectionFacts = {}): PassthroughError {
  if (isPassthroughError(error)) return error;
  const code = systemErrorCode(error) ?? '';
  const { reason, setting } = faultOf(url, error, code, facts);
  const hop = isFromProxy(error, url) ? 'the proxy on the way: ' : '';
  return new PassthroughError('REGISTRY_UNREACHABLE', `Cannot reach ${quoted(url.origin)}: ${hop}${reason}`, {
    cause: error,
    ...(setting !== undefined && { setting }),
  });
}

/** Why a connection has failed, and the setting that helps. */
interface Fault {
  readonly reason: string;
  readonly setting: Setting | undefined;
}

function faultOf(
  url: URL,
  error: unknown,
  code: string,
  { certificate, hasIdentity, isSilent }: ConnectionFacts,
): Fault {
  if (CERTIFICATE.test(code))
    return certificateFault(code, textOf(error), certificate ?? certificateOf(error));
  const tls = url.protocol === 'https:' ? tlsText(error, code) : undefined;
  if (tls === undefined) {
    const isTls = url.protocol === 'http:' && TLS_RECORD.has(firstByteOf(error));
    if (isTls) return { reason: 'it speaks https, and was asked over http', setting: 'tlsAtRegistry' };
    // Many servers of TLS close the connection of a client that speaks plain http.
    const guess =
      isSilent === true && url.protocol === 'http:' && BROKEN.has(code)
        ? ' without an answer; it may speak https'
        : '';
    return { reason: `${reasonOf(error, code)}${guess}`, setting: undefined };
  }
  if (NO_TLS.test(tls)) return { reason: 'it does not speak TLS: use http', setting: 'plainHttpHosts' };
  if (CLIENT_CERTIFICATE_ALERT.test(tls)) {
    const reason = hasIdentity ? 'it refused the client certificate' : 'it wants a client certificate';
    return { reason: `${reason} (${printable(alertOf(tls))})`, setting: 'clientIdentity' };
  }
  if (HANDSHAKE_ALERT.test(tls)) {
    const guess = hasIdentity ? '' : '; it may want a client certificate';
    return { reason: `it refused the TLS handshake${guess}`, setting: 'clientIdentity' };
  }
  return { reason: `TLS has failed: ${printable(alertOf(tls))}`, setting: undefined };
}

/**
 * What OpenSSL says, of an error that it has made. It stands between colons:
 * `40F3…:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/…/tlsany_meth.c:78:`
 */
function tlsText(error: unknown, code: string): string | undefined {
  if (!(error instanceof Error) || (code !== 'EPROTO' && !code.startsWith('ERR_SSL_'))) return undefined;
  if ('reason' in error && typeof error.reason === 'string') return error.reason;
  const [, behind = error.message] = error.message.slice(0, MAX_TEXT_LENGTH).split(':error:');
  const parts = behind.split(':');
  return parts[3] ?? parts[0] ?? '';
}

/** `sslv3 alert bad certificate` and `tlsv13 alert certificate required`, without the version that OpenSSL knows the alert from. */
function alertOf(text: string): string {
  return text.replace(/^(?:ssl\/tls|sslv3|tlsv1[13]?) alert/i, 'alert:').trim();
}

/** Through the tunnel of a proxy, only the error for another name has the certificate. */
function certificateOf(error: unknown): DetailedPeerCertificate | undefined {
  const isNamed = error instanceof Error && 'cert' in error && typeof error.cert === 'object';
  return isNamed ? (error.cert as DetailedPeerCertificate) : undefined;
}

/** First byte of an answer that is not HTTP. */
function firstByteOf(error: unknown): number | undefined {
  const packet = error instanceof Error && 'rawPacket' in error ? error.rawPacket : undefined;
  return packet instanceof Uint8Array ? packet[0] : undefined;
}

function reasonOf(error: unknown, code: string): string {
  const known = REASONS[code];
  if (known !== undefined) return known;
  if (code === 'ERR_PROXY_TUNNEL') {
    const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
    return typeof status === 'number' && status > 0 ? `it answers ${status}` : 'it opens no tunnel';
  }
  // The text of a system error is its call and the address.
  return error instanceof Error && 'syscall' in error ? `the connection failed (${code})` : textOf(error);
}

/** The text of an error without addresses, printable and short. */
function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return printable(text.slice(0, MAX_TEXT_LENGTH).replace(ADDRESS, '[address]'));
}

/** Whether the connection that failed was one to another host than that of the request. */
function isFromProxy(error: unknown, url: URL): boolean {
  if (systemErrorCode(error) === 'ERR_PROXY_TUNNEL') return true;
  // An attempt on several addresses of a name fails with all their errors.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  if (!(first instanceof Error)) return false;
  const port = 'port' in first ? first.port : undefined;
  const name = 'hostname' in first ? first.hostname : undefined;
  const ownPort = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  const ownName = url.hostname.replace(/^\[|\]$/g, '');
  return (typeof port === 'number' && port !== ownPort) || (typeof name === 'string' && name !== ownName);
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
    `Cannot read from ${quoted(url.origin)}: ${what} within ${ms / 1000} s`,
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
