import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { PassthroughError, type Setting } from '../../errors.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import type { HostPattern } from '../host-pattern.ts';

/** Certificates for one host. The object stays the same while they do. */
export interface HostCertificates {
  /** Authorities that are trusted besides others, PEM. */
  readonly authorities: readonly string[];
  /** Certificates of this client with their chains and keys, PEM. */
  readonly identities: readonly { readonly cert: string; readonly key: string }[];
}

/** Certificates by host. */
export interface HostCertificateSource {
  /**
   * The certificates for a host, as they are now.
   *
   * @returns `undefined` if the host has none of its own
   * @throws PassthroughError `INVALID_CONFIGURATION` for certificates that cannot be used
   */
  forHost(url: URL): Promise<HostCertificates | undefined>;
}

/** TLS settings for all registries of a service. Texts are PEM. */
export interface RegistryTls {
  /** Authorities that are trusted besides those of Node and of the system. */
  readonly caCert?: string | undefined;
  /** Certificate of this client, and its chain. Registries that ask for one get it; other origins do not. */
  readonly clientCert?: string | undefined;
  /** Private key of `clientCert`, without passphrase. */
  readonly clientKey?: string | undefined;
  /** Whether server certificates are accepted unverified. */
  readonly insecure?: boolean | undefined;
  /** Hosts whose certificates are accepted unverified. */
  readonly insecureHosts?: readonly HostPattern[] | undefined;
  /** Certificates of single hosts. Their authorities are trusted besides, and their client certificate comes first. */
  readonly folders?: HostCertificateSource | undefined;
}

/** What an https agent takes for its connections. */
export interface TlsAgentSettings {
  /** Makes the context at the first connection: reading the authorities of the system takes tens of milliseconds. */
  readonly context: () => SecureContext;
  readonly rejectUnauthorized: boolean;
  /** Whether the context has a client certificate. */
  readonly hasIdentity: boolean;
}

const CERTIFICATE_BLOCK =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[\s\S]+?-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;

/** Reasons by OpenSSL's error code. Its own texts name routines of its sources. */
const REASONS: Readonly<Record<string, string>> = {
  ERR_OSSL_PEM_NO_START_LINE: 'it is not PEM',
  ERR_OSSL_UNSUPPORTED: 'it is not PEM',
  ERR_OSSL_X509_KEY_VALUES_MISMATCH: 'key and certificate do not belong together',
  ERR_OSSL_X509_KEY_TYPE_MISMATCH: 'key and certificate do not belong together',
  ERR_OSSL_BAD_DECRYPT: 'the key is protected by a passphrase',
  ERR_OSSL_CRYPTO_INTERRUPTED_OR_CANCELLED: 'the key is protected by a passphrase',
};

/**
 * Checks TLS settings, and makes those of the agents: one for registries, and one for other origins, such as the target of a
 * redirect, which must not learn the client's certificate.
 *
 * @param own certificates of the host that the agents are for
 * @throws PassthroughError `INVALID_CONFIGURATION` for an unreadable certificate or key, one without the other, and a key of
 *   another certificate
 */
export function tlsAgentSettings(
  { caCert, clientCert, clientKey, insecure = false }: RegistryTls = {},
  own?: HostCertificates,
): { readonly registry: TlsAgentSettings; readonly foreign: TlsAgentSettings } {
  const given = caCert === undefined ? [] : readAuthorities(caCert);
  const authorities = [...given, ...(own?.authorities ?? [])];
  if (clientCert === undefined && clientKey !== undefined) {
    throw invalid('client key', 'the client certificate that belongs to it is missing', 'clientCert');
  }
  if (clientCert !== undefined && clientKey === undefined) {
    throw invalid('client certificate', 'its key is missing', 'clientKey');
  }
  const rejectUnauthorized = !insecure;
  if (clientCert !== undefined && clientKey !== undefined)
    checkIdentity({ cert: clientCert, key: clientKey });
  const all =
    clientCert === undefined || clientKey === undefined ? [] : [{ cert: clientCert, key: clientKey }];
  const identities = own !== undefined && own.identities.length > 0 ? own.identities : all;
  const settings = (of: Identities) => ({
    context: lazily(() => contextOf(authorities, of)),
    rejectUnauthorized,
    hasIdentity: of.length > 0,
  });
  const foreign = settings([]);
  return { registry: identities.length === 0 ? foreign : settings(identities), foreign };
}

/** Client certificates with their keys, PEM. */
type Identities = HostCertificates['identities'];

/**
 * Splits PEM into its certificates. Node takes a text without a certificate for an authority, and then trusts none of it without an
 * error.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` for a text without a certificate, and for a certificate that cannot be parsed
 */
export function readAuthorities(text: string): readonly string[] {
  const blocks = text.match(CERTIFICATE_BLOCK) ?? [];
  if (blocks.length === 0) throw invalid('CA certificate', 'it has no PEM certificate', 'caCert');
  for (const [index, block] of blocks.entries()) {
    try {
      new X509Certificate(block);
    } catch (cause) {
      const which = blocks.length === 1 ? 'it' : `certificate ${index + 1} of ${blocks.length}`;
      throw invalid('CA certificate', `${which} cannot be parsed`, 'caCert', cause);
    }
  }
  return blocks;
}

/** @throws PassthroughError `INVALID_CONFIGURATION` for a certificate and a key that cannot be used, or not together */
export function checkIdentity({ cert, key }: Identities[number]): void {
  // Each alone first, so that the error says which of them is wrong.
  const parts = [
    ['client certificate', 'clientCert', { cert }],
    ['client key', 'clientKey', { key }],
    ['client certificate', 'clientCert', { cert, key }],
  ] as const;
  for (const [what, setting, options] of parts) {
    try {
      createSecureContext(options);
    } catch (cause) {
      throw invalid(what, REASONS[systemErrorCode(cause) ?? ''] ?? 'it cannot be parsed', setting, cause);
    }
  }
}

function contextOf(authorities: readonly string[], identities: Identities) {
  const ca = new Set([...getCACertificates('default'), ...getCACertificates('system'), ...authorities]);
  const used = oneOfEachKind(identities);
  const [cert, key] = [used.map((one) => one.cert), used.map((one) => one.key)];
  return createSecureContext({
    ca: [...ca],
    // An authority between, or the certificate of the server itself, is trusted without its root, as Docker, podman and curl do it.
    allowPartialTrustChain: true,
    ...(used.length > 0 && { cert, key }),
  });
}

/**
 * The first certificate of each kind of key. OpenSSL has one place for each kind, and shows the one that suits the server.
 *
 * @see https://docs.openssl.org/3.5/man3/SSL_CTX_use_certificate/#notes
 */
function oneOfEachKind(identities: Identities): Identities {
  const kindOf = ({ key }: Identities[number]) => createPrivateKey(key).asymmetricKeyType;
  const kinds = identities.map(kindOf);
  return identities.filter((_, at) => kinds.indexOf(kinds[at]) === at);
}

function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function invalid(what: string, reason: string, setting: Setting, cause?: unknown): PassthroughError {
  return new PassthroughError('INVALID_CONFIGURATION', `Cannot use the ${what}: ${reason}`, {
    reason,
    setting,
    ...(cause !== undefined && { cause }),
  });
}
