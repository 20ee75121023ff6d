import type { TlsFiles } from '../../config/listener.ts';
import { VARIABLES } from '../../config/variables.ts';
import { isPassthroughError } from '../../errors.ts';
import type { Logger } from '../../telemetry/log.ts';
import { instruments } from '../../telemetry/metrics.ts';
import { printable } from '../../util/printable.ts';
import { parseServerCertificate, readTlsTexts, type ServerCertificate } from './server-certificate.ts';

/**
 * Interval of the looks at the files, in milliseconds. They are read, for no event and no time of a file tells of each way to
 * replace one: renamed files, links that point elsewhere, as in Kubernetes, network file systems.
 */
const CHECK_MS = 10_000;

/** A certificate that expires within this time is reported, in milliseconds: a renewal should have come weeks before. */
const WARNING_MS = 14 * 86_400_000;

/** Share of a certificate's life that is left when it is reported, for those that live for days. */
const WARNING_SHARE = 0.2;

/** Time between two reports of one certificate that expires, in milliseconds. */
const REPORT_EVERY_MS = 86_400_000;

/** Longest fault in the log, in characters: it has a path. */
const MAX_FAULT_LENGTH = 4500;

/** How to watch. */
export interface CertificateWatchOptions {
  readonly files: TlsFiles;
  readonly logger: Logger;
  /** {@link CHECK_MS} unless given. */
  readonly checkMs?: number | undefined;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** Keeps the certificate of the service up to date with its files. */
export class CertificateWatch {
  readonly #options: CertificateWatchOptions;
  readonly #now: () => number;
  readonly #replace: (certificate: ServerCertificate) => void;
  #current: ServerCertificate;
  /** What was wrong at the last look. */
  #fault: string | undefined;
  #reportedFault: string | undefined;
  #reportedExpiryAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    current: ServerCertificate,
    options: CertificateWatchOptions,
    replace: (certificate: ServerCertificate) => void,
  ) {
    this.#current = current;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#replace = replace;
  }

  /**
   * Reads the files, and looks at them from then on.
   *
   * @param replace receives the first certificate, and each later one
   * @throws PassthroughError `INVALID_CONFIGURATION` if the files cannot be used now
   */
  static async start(
    options: CertificateWatchOptions,
    replace: (certificate: ServerCertificate) => void,
  ): Promise<CertificateWatch> {
    const { files } = options;
    const current = parseServerCertificate(await readTlsTexts(files), files);
    const watch = new CertificateWatch(current, options, replace);
    replace(current);
    watch.#reportValidity();
    watch.#schedule();
    return watch;
  }

  /** Looks no more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      void this.#look().finally(() => this.#timer && this.#schedule());
    }, this.#options.checkMs ?? CHECK_MS).unref();
  }

  async #look(): Promise<void> {
    const { files } = this.#options;
    let fault: string | undefined;
    try {
      const texts = await readTlsTexts(files);
      if (JSON.stringify(texts) !== this.#current.content) this.#use(parseServerCertificate(texts, files));
      this.#reportedFault = undefined;
    } catch (error) {
      fault = isPassthroughError(error) ? error.message : String(error);
      this.#reportFault(fault);
    }
    this.#fault = fault;
    this.#reportValidity();
  }

  #use(certificate: ServerCertificate): void {
    this.#replace(certificate);
    this.#current = certificate;
    this.#reportedExpiryAt = Number.NEGATIVE_INFINITY;
    instruments().certificateReloads.add(1, { 'passthrough.outcome': 'ok' });
    this.#options.logger.log('info', 'certificate', {
      subject: printable(certificate.subject),
      validTo: certificate.validTo.toISOString(),
      message: 'The certificate has changed: new connections get it',
    });
  }

  /**
   * Reports a fault at the second look that finds it: certificate and key are two files, and a look between the replacement of the
   * one and the other finds a key of another certificate.
   */
  #reportFault(fault: string): void {
    if (fault !== this.#fault || fault === this.#reportedFault) return;
    this.#reportedFault = fault;
    instruments().certificateReloads.add(1, { 'passthrough.outcome': 'failed' });
    this.#options.logger.log('warn', 'certificate', {
      message: `${printable(fault, MAX_FAULT_LENGTH)}. The certificate before it stays in use`,
    });
  }

  /** Measures how long the certificate is still valid, and says once a day that it expires soon. */
  #reportValidity(): void {
    const { validFrom, validTo } = this.#current;
    const now = this.#now();
    const leftMs = validTo.getTime() - now;
    instruments().certificateExpiry.record(Math.floor(leftMs / 1000));
    const warningMs = Math.min(WARNING_MS, (validTo.getTime() - validFrom.getTime()) * WARNING_SHARE);
    const isEarly = now < validFrom.getTime();
    if ((leftMs > warningMs && !isEarly) || now - this.#reportedExpiryAt < REPORT_EVERY_MS) return;
    this.#reportedExpiryAt = now;
    const what = isEarly ? 'is not valid yet' : leftMs > 0 ? 'expires soon' : 'has expired';
    const [from, to, clock] = [validFrom, validTo, new Date(now)].map((date) => date.toISOString());
    this.#options.logger.log('warn', 'certificate', {
      message: `The certificate in ${VARIABLES.tlsCertificate} ${what}: it is valid from ${from} to ${to}, and the clock here says ${clock}`,
    });
  }
}
