/** Why the certificate of a server is not accepted, in words that name what to change. */

import { isIP } from 'node:net';
import type { DetailedPeerCertificate } from 'node:tls';
import type { Setting } from '../../errors.ts';
import { printable, quoted } from '../../util/printable.ts';

/** Most certificates of a chain that are looked at. OpenSSL verifies a hundred at most. */
const MAX_CHAIN = 20;

/** Most names of a certificate in a message. Those of shared servers have hundreds. */
const MAX_NAMES = 5;

/** Longest name of a certificate's subject, in characters. */
const MAX_NAME_LENGTH = 120;

/** Codes of OpenSSL for a chain without a trusted end: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const UNTRUSTED = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'CERT_UNTRUSTED',
]);

/** Reasons by OpenSSL's code, for those that need no fact of the certificate. */
const REASONS: Readonly<Record<string, string>> = {
  CERT_REVOKED: 'it was revoked',
  CERT_SIGNATURE_FAILURE: 'its signature is wrong',
  CERT_CHAIN_TOO_LONG: 'its chain is too long',
  INVALID_CA: 'a certificate in its chain is no authority',
  PATH_LENGTH_EXCEEDED: 'its chain is longer than its authority allows',
  INVALID_PURPOSE: 'it is not for servers',
  CERT_REJECTED: 'its authority does not allow it for servers',
};

/** What a certificate lacks. */
export interface CertificateFault {
  readonly reason: string;
  /** `serverCertificate` if the server needs another certificate. */
  readonly setting: Setting;
}

/**
 * Explains why a certificate is not accepted.
 *
 * @param code of the error, such as `CERT_HAS_EXPIRED`
 * @param text of the error, for codes that are not known here
 * @param certificate of the server, with its chain; `undefined` if it is not known
 */
export function certificateFault(
  code: string,
  text: string,
  certificate: DetailedPeerCertificate | undefined,
  now: Date = new Date(),
): CertificateFault {
  const chain = chainOf(certificate);
  if (UNTRUSTED.has(code))
    return {
      reason: `its certificate is not trusted: ${missingAuthority(code, chain)}`,
      setting: 'trustedCertificates',
    };
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return { reason: `its certificate is for ${namesOf(certificate)}`, setting: 'serverCertificate' };
  const other = (why: string) =>
    ({ reason: `its certificate cannot be used: ${why}`, setting: 'serverCertificate' }) as const;
  if (code === 'CERT_HAS_EXPIRED') return other(outOfTime(chain, now, 'expired'));
  if (code === 'CERT_NOT_YET_VALID') return other(outOfTime(chain, now, 'early'));
  return other(REASONS[code] ?? firstClause(text));
}

/** The certificates that the server has sent, its own first. */
function chainOf(certificate: DetailedPeerCertificate | undefined): readonly DetailedPeerCertificate[] {
  const chain: DetailedPeerCertificate[] = [];
  let at = certificate;
  // The issuer of a self-signed certificate is itself.
  while (at?.subject !== undefined && chain.length < MAX_CHAIN && !chain.includes(at)) {
    chain.push(at);
    at = at.issuerCertificate;
  }
  return chain;
}

function missingAuthority(code: string, chain: readonly DetailedPeerCertificate[]): string {
  const last = chain.at(-1);
  if (last === undefined) return 'its authority is unknown here';
  if (code === 'DEPTH_ZERO_SELF_SIGNED_CERT') return `it is self-signed, by ${nameOf(last.subject)}`;
  return `its authority ${nameOf(last.issuer)} is unknown here`;
}

/** A name such as `CN=Example Root, O=Example`. */
function nameOf(name: DetailedPeerCertificate['subject']): string {
  const parts = Object.entries(name).map(([key, value]) => `${key}=${[value].flat().join('+')}`);
  // What tells most comes last in the certificate.
  return quoted(parts.toReversed().join(', '), MAX_NAME_LENGTH);
}

/**
 * The names of a certificate. Without alternative names, Node takes the common one. Addresses in it may be those of hosts that the
 * request does not name.
 */
function namesOf(certificate: DetailedPeerCertificate | undefined): string {
  const { subjectaltname, subject } = certificate ?? {};
  const all = subjectaltname?.split(', ') ?? [subject?.CN].flat().map((name) => `DNS:${name ?? ''}`);
  const dns = all.filter((name) => name.startsWith('DNS:')).map((name) => name.slice('DNS:'.length));
  const names = dns.filter((name) => name !== '' && isIP(name) === 0);
  if (names.length === 0) return 'another host';
  const shown = names.slice(0, MAX_NAMES).map((name) => quoted(name, MAX_NAME_LENGTH));
  const rest = names.length - shown.length;
  return `${shown.join(', ')}${rest > 0 ? ` and ${rest} more names` : ''}, and not for this host`;
}

function outOfTime(chain: readonly DetailedPeerCertificate[], now: Date, what: 'expired' | 'early'): string {
  const isOut = ({ valid_from: from, valid_to: to }: DetailedPeerCertificate) =>
    what === 'expired' ? Date.parse(to) < now.getTime() : Date.parse(from) > now.getTime();
  const found = chain.find(isOut);
  const clock = `the clock here says ${shown(now)}`;
  if (found === undefined)
    return `${what === 'expired' ? 'it has expired' : 'it is not valid yet'}; ${clock}`;
  const which = found === chain[0] ? 'it' : `that of its authority ${nameOf(found.subject)}`;
  const [from, to] = [found.valid_from, found.valid_to].map((date) => shown(new Date(date)));
  return `${which} is valid from ${from} to ${to}, and ${clock}`;
}

function shown(date: Date): string {
  return Number.isNaN(date.getTime()) ? 'an unknown time' : `${date.toISOString().slice(0, 19)}Z`;
}

/** Node appends advice about its own options behind a semicolon. */
function firstClause(text: string): string {
  return printable(text.split(/[;\n]/, 1)[0] ?? '');
}
