import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { TlsFiles } from '../../config/listener.ts';
import { VARIABLES } from '../../config/variables.ts';
import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';

/** Largest file, in bytes: a bundle of all public authorities has 200 KB. */
const MAX_FILE_BYTES = 1024 * 1024;

/** Longest path in an error, in characters. */
const MAX_PATH_LENGTH = 4096;

const CERTIFICATE_BLOCK =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[\s\S]+?-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;

/** Reasons by OpenSSL's error code. Its own texts name routines of its sources. */
const REASONS: ReadonlyMap<string | undefined, string> = new Map([
  ['ERR_MISSING_PASSPHRASE', 'it is protected by a passphrase'],
  ['ERR_OSSL_BAD_DECRYPT', 'it is protected by a passphrase'],
  ['ERR_OSSL_CRYPTO_INTERRUPTED_OR_CANCELLED', 'it is protected by a passphrase'],
  ['ERR_OSSL_UNSUPPORTED', 'it has no PEM private key'],
  ['ERR_OSSL_PEM_NO_START_LINE', 'it has no PEM private key'],
  ['ERR_SSL_EE_KEY_TOO_SMALL', 'its key is too short'],
  ['ERR_SSL_CA_KEY_TOO_SMALL', 'the key of an authority in it is too short'],
  ['ERR_SSL_CA_MD_TOO_WEAK', 'an authority in it has signed with a hash that is too weak'],
]);

/** The certificate of the service with its key, as its files have it at one moment. */
export interface ServerCertificate {
  /** For `createServer` and `setSecureContext` of `node:tls`. */
  readonly context: SecureContextOptions;
  /** The bytes of all files: equal ones mean that nothing has changed. */
  readonly content: string;
  readonly subject: string;
  /** From when on all certificates of the chain are valid. */
  readonly validFrom: Date;
  /** When the first of the chain expires. */
  readonly validTo: Date;
}

/** The files as text, in the order of {@link TlsFiles}. */
export interface TlsTexts {
  readonly certificate: string;
  readonly key: string;
  readonly clientAuthorities: string | undefined;
}

/**
 * Reads the files.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` naming variable, path and reason
 */
export async function readTlsTexts(files: TlsFiles): Promise<TlsTexts> {
  const { certificate, key, clientAuthorities } = files;
  return {
    certificate: await readText(VARIABLES.tlsCertificate, certificate),
    key: await readText(VARIABLES.tlsKey, key),
    clientAuthorities:
      clientAuthorities && (await readText(VARIABLES.tlsClientAuthorities, clientAuthorities)),
  };
}

/**
 * Checks what the files have.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION`: no certificate, no key, a key of another certificate, an authority that cannot
 *   be parsed, authorities without a root
 */
export function parseServerCertificate(texts: TlsTexts, files: TlsFiles): ServerCertificate {
  const certificate = [VARIABLES.tlsCertificate, files.certificate] as const;
  const chain = certificatesOf(texts.certificate, ...certificate);
  const key = parseKey(texts.key, files.key);
  const [leaf] = chain;
  if (!leaf.checkPrivateKey(key)) {
    const at = chain.findIndex((other) => other.checkPrivateKey(key));
    const why =
      at === -1
        ? `the key in ${VARIABLES.tlsKey} belongs to another certificate`
        : `the key in ${VARIABLES.tlsKey} belongs to certificate ${at + 1} of ${chain.length}, which has to be the first`;
    throw invalid(...certificate, why);
  }
  const { clientAuthorities } = texts;
  const authorities =
    clientAuthorities === undefined
      ? undefined
      : authoritiesOf(clientAuthorities, files.clientAuthorities ?? '');
  const context: SecureContextOptions = {
    cert: texts.certificate,
    key: texts.key,
    ...(authorities !== undefined && { ca: authorities.map(String) }),
  };
  try {
    createSecureContext(context);
  } catch (cause) {
    throw invalid(...certificate, reasonOf(cause), cause);
  }
  return {
    context,
    content: JSON.stringify(texts),
    subject: leaf.subject ?? '',
    validFrom: new Date(Math.max(...chain.map((one) => Date.parse(one.validFrom)))),
    validTo: new Date(Math.min(...chain.map((one) => Date.parse(one.validTo)))),
  };
}

/** The authorities of clients. The server of `node:tls` passes no `allowPartialTrustChain` on, so OpenSSL wants a root. */
function authoritiesOf(text: string, path: string): readonly X509Certificate[] {
  const name = VARIABLES.tlsClientAuthorities;
  const authorities = certificatesOf(text, name, path);
  if (!authorities.some((one) => one.checkIssued(one))) {
    const above = authorities[0].issuer.replaceAll('\n', ', ');
    throw invalid(name, path, `it has no root authority: add the certificate of ${quoted(above)}`);
  }
  return authorities;
}

function certificatesOf(
  text: string,
  name: string,
  path: string,
): readonly [X509Certificate, ...X509Certificate[]] {
  const blocks = text.match(CERTIFICATE_BLOCK) ?? [];
  const [first, ...others] = blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      const which = blocks.length === 1 ? 'its certificate' : `certificate ${index + 1} of ${blocks.length}`;
      throw invalid(name, path, `${which} cannot be parsed`, cause);
    }
  });
  if (first === undefined) throw invalid(name, path, 'it has no PEM certificate');
  return [first, ...others];
}

function parseKey(text: string, path: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (cause) {
    throw invalid(VARIABLES.tlsKey, path, reasonOf(cause), cause);
  }
}

/** Reads a regular file: a pipe would never end, or end once only. */
async function readText(name: string, path: string): Promise<string> {
  try {
    const stats = await stat(path);
    if (!stats.isFile()) throw invalid(name, path, stats.isDirectory() ? 'it is a folder' : 'it is no file');
    if (stats.size > MAX_FILE_BYTES) throw invalid(name, path, `it has more than ${MAX_FILE_BYTES} bytes`);
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof PassthroughError) throw cause;
    throw invalid(name, path, `it cannot be read (${systemErrorCode(cause) ?? String(cause)})`, cause);
  }
}

function reasonOf(cause: unknown): string {
  const code = systemErrorCode(cause);
  return REASONS.get(code) ?? `it cannot be used (${code ?? 'unknown reason'})`;
}

function invalid(name: string, path: string, why: string, cause?: unknown): PassthroughError {
  return new PassthroughError(
    'INVALID_CONFIGURATION',
    `Cannot use ${name}=${quoted(path, MAX_PATH_LENGTH)}: ${why}`,
    { cause },
  );
}
