import { constants } from 'node:crypto';
import { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { TlsFiles } from '../../config/listener.ts';
import { VARIABLES } from '../../config/variables.ts';
import type { Logger } from '../../telemetry/log.ts';
import { instruments } from '../../telemetry/metrics.ts';
import { printable } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { endLater, plainAnswer } from '../connections/last-answer.ts';
import { CertificateWatch } from './certificate-watch.ts';
import type { ServerCertificate } from './server-certificate.ts';

/** The only protocol that is spoken: https://www.iana.org/assignments/tls-extensiontype-values/#alpn-protocol-ids */
const PROTOCOL = 'http/1.1';

/** What a client that speaks plain http to the port of https is told. */
const SPEAKS_HTTPS = 'Invalid request: This port speaks https: write https:// before its address';

/** Longest name of a certificate in log and spans, in characters. */
const MAX_NAME_LENGTH = 100;

/** Codes of connections that end in a handshake: port scans and checks of balancers do so. */
const LEFT = new Set(['ECONNRESET', 'EPIPE']);

/** What is said of a refused certificate, unless {@link REASONS} has its code. */
const UNKNOWN_ISSUER = `No authority in ${VARIABLES.tlsClientAuthorities} has issued the client's certificate for this use`;

/** What is said of other failures, by the code of Node or OpenSSL. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['CERT_HAS_EXPIRED', "The client's certificate has expired"],
  ['CERT_NOT_YET_VALID', "The client's certificate is not valid yet"],
  ['ECONNRESET', 'The client has left, or the handshake took too long'],
  ['ERR_SSL_EXCESSIVE_MESSAGE_SIZE', "The client's certificates are too large"],
  ['ERR_SSL_NO_APPLICATION_PROTOCOL', `The client does not offer ${PROTOCOL}`],
  ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', 'The client has sent no certificate'],
  ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN', 'The client does not trust the certificate of the service'],
  ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'The client does not trust the certificate of the service'],
  ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'The client speaks no TLS 1.2 or newer'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'The client does not speak TLS'],
  [
    'UNABLE_TO_GET_ISSUER_CERT',
    `${VARIABLES.tlsClientAuthorities} has no root for the authority that has issued the client's certificate`,
  ],
]);

/** Settings of {@link TlsHandshakes}. */
export interface TlsOptions {
  readonly files: TlsFiles;
  readonly logger: Logger;
  /** Interval of the looks at the files, in milliseconds. */
  readonly checkMs?: number | undefined;
}

/** What becomes of a connection. */
export interface HandshakeCall {
  /** Calls back when it is the connection's turn: a handshake takes up to a millisecond of the event loop. */
  readonly turn: (begin: () => void) => void;
  /**
   * Receives the encrypted connection.
   *
   * @param certificate whom the client's certificate names
   */
  readonly secured: (socket: TLSSocket, certificate: string | undefined) => void;
}

/**
 * Makes accepted connections encrypted ones. Node's `https` would accept by itself, so that connections were counted and refused
 * only after their handshake.
 */
export class TlsHandshakes {
  readonly #server: Server;
  readonly #limitMs: number;
  readonly #logger: Logger;
  readonly #isClientChecked: boolean;
  /** What to do with the connections in a handshake, by {@link nameOf}. Node passes on another object than it got. */
  readonly #under = new Map<string, { readonly call: HandshakeCall; readonly timer: NodeJS.Timeout }>();
  #watch: CertificateWatch | undefined;

  private constructor({ files, logger }: TlsOptions, limitMs: number) {
    this.#limitMs = limitMs;
    this.#logger = logger;
    this.#isClientChecked = files.clientAuthorities !== undefined;
    this.#server = createServer({
      ALPNProtocols: [PROTOCOL],
      requestCert: this.#isClientChecked,
      // Without it, OpenSSL gives a client without a certificate a ticket, and Node takes the resumed session for an authorized one.
      rejectUnauthorized: this.#isClientChecked,
    });
    this.#server.on('secureConnection', (socket) => this.#finish(socket));
    this.#server.on('tlsClientError', (error, socket) => this.#fail(error, socket));
  }

  /**
   * Reads the certificate, and reads it again when its files change.
   *
   * @param limitMs longest handshake
   * @throws PassthroughError `INVALID_CONFIGURATION` for files that cannot be used
   */
  static async start(options: TlsOptions, limitMs: number): Promise<TlsHandshakes> {
    const handshakes = new TlsHandshakes(options, limitMs);
    handshakes.#watch = await CertificateWatch.start(options, (one) => handshakes.#use(one));
    return handshakes;
  }

  /** Stops to look at the files. */
  stop(): void {
    this.#watch?.stop();
  }

  /** Begins the handshake of a new connection, which is closed if it does not end in time. */
  begin(socket: Socket, call: HandshakeCall): void {
    // A connection that is broken already has no address, and so no name of its own.
    if (socket.remoteAddress === undefined) return void socket.destroy();
    const name = nameOf(socket);
    // Not the time-out of Node, which begins again with each byte.
    const timer = setTimeout(() => socket.destroy(), this.#limitMs).unref();
    this.#under.set(name, { call, timer });
    socket.once('close', () => {
      clearTimeout(timer);
      if (this.#under.get(name)?.timer === timer) this.#under.delete(name);
    });
    socket.on('error', () => undefined);
    socket.once('readable', () => {
      const bytes: Buffer | null = socket.read();
      if (bytes === null) socket.destroy();
      else if (isText(bytes)) {
        socket.resume();
        endLater(socket, plainAnswer('400 Bad Request', SPEAKS_HTTPS));
      } else {
        socket.unshift(bytes);
        call.turn(() => !socket.destroyed && this.#server.emit('connection', socket));
      }
    });
  }

  /** Connections from now on get this certificate. Sessions of the one before it cannot be resumed: a new context has new keys. */
  #use({ context }: ServerCertificate): void {
    this.#server.setSecureContext({
      ...context,
      minVersion: 'TLSv1.2',
      // A client could make the service work again and again: CVE-2011-1473.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    });
  }

  #finish(socket: TLSSocket): void {
    const name = nameOf(socket);
    const under = this.#under.get(name);
    // No `under`: the client has left meanwhile, and the system no longer knows its address.
    if (under === undefined || (this.#isClientChecked && !isAuthorized(socket))) {
      socket.destroy();
      return;
    }
    clearTimeout(under.timer);
    this.#under.delete(name);
    under.call.secured(socket, this.#isClientChecked ? clientName(socket) : undefined);
  }

  #fail(error: Error, socket: TLSSocket): void {
    // Node ends a connection whose certificate is refused as if the client had left.
    const code = String(socket.authorizationError ?? systemErrorCode(error) ?? 'unknown');
    const client = addressOf(socket);
    socket.destroy();
    instruments().handshakeFailures.add(1, { 'error.type': code });
    this.#logger.log(LEFT.has(code) ? 'debug' : 'info', 'tls_refused', {
      client,
      error: code,
      message: REASONS.get(code) ?? (socket.authorizationError ? UNKNOWN_ISSUER : printable(reasonOf(error))),
    });
  }
}

/** What OpenSSL says, without the names of its routines and files. */
function reasonOf(error: Error): string {
  return 'reason' in error && typeof error.reason === 'string' ? error.reason : error.message;
}

/**
 * Whether bytes begin as a request of plain HTTP: with a letter of its method. TLS begins with the byte 0x16.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8446#section-5.1
 */
function isText([first = 0]: Buffer): boolean {
  return first >= 0x41 && first <= 0x5a;
}

/**
 * The client of a connection that has failed. Node has closed the one whose certificate it has refused, and then knows the address of
 * the connection below it only, which has no documented name.
 */
function addressOf(socket: TLSSocket): string | undefined {
  const below = '_parent' in socket ? socket._parent : undefined;
  return socket.remoteAddress ?? (below instanceof Socket ? below.remoteAddress : undefined);
}

/** Both ends of a TCP connection, which no other open one has. */
function nameOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

/** Whether a client has shown a certificate of an authority that is trusted, in this handshake or in the one that it resumes. */
function isAuthorized(socket: TLSSocket): boolean {
  return socket.authorized && Object.keys(socket.getPeerCertificate()).length > 0;
}

/** Whom a client's certificate names: its common name, or else the first of its other names. */
function clientName(socket: TLSSocket): string | undefined {
  const { subject, subjectaltname } = socket.getPeerCertificate();
  const [common] = [subject?.CN].flat();
  const name = common || subjectaltname?.split(', ', 1)[0];
  return name === undefined || name === '' ? undefined : printable(name, MAX_NAME_LENGTH);
}
