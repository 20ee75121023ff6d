import { matchesHost } from '../../registry/host-pattern.ts';
import type { RegistryHost } from '../../registry/registry-host.ts';
import type { CertificateFile } from '../../registry/transport/certificate-files.ts';
import type { CertificateFolders } from '../../registry/transport/certificate-folders.ts';
import type { RegistryTls } from '../../registry/transport/tls.ts';

/** A file of certificates. */
export interface PolicyCertificate {
  readonly file: string;
  /** ISO 8601; `undefined` if the file cannot be read. */
  readonly validTo: string | undefined;
  readonly isExpired: boolean;
}

/** How the connection to the registry is secured. */
export interface PolicyTls {
  /** `none`: over plain http. `unverified`: any certificate of the server is accepted. */
  readonly verification: 'verified' | 'unverified' | 'none';
  /** Options of a command line that give certificates, with their files. */
  readonly options: readonly string[];
  /** Folder of the registry, and its files. */
  readonly folder: string | undefined;
  readonly authorities: readonly PolicyCertificate[];
  /** Certificates of this client, which the registry gets if it asks for one. */
  readonly clientCertificates: readonly PolicyCertificate[];
  /** Why the files cannot be used as they are now. */
  readonly fault: string | undefined;
}

/** What {@link explainTls} reads. */
export interface TlsSettings extends Pick<RegistryTls, 'insecure' | 'insecureHosts'> {
  /** Options that give certificates, with their files. */
  readonly options?: readonly string[] | undefined;
  readonly folders?: CertificateFolders | undefined;
}

/**
 * Tells which certificates are used for a registry.
 *
 * @param requiresClient whether the client's right alone counts, so that the operator's client certificate is not shown
 */
export async function explainTls(
  { origin }: RegistryHost,
  { insecure = false, insecureHosts = [], options = [], folders }: TlsSettings,
  requiresClient: boolean,
): Promise<PolicyTls> {
  const url = new URL(origin);
  const none = { options, folder: undefined, authorities: [], clientCertificates: [], fault: undefined };
  if (url.protocol === 'http:') return { verification: 'none', ...none, options: [] };
  const isInsecure = insecure || insecureHosts.some((pattern) => matchesHost(pattern, url));
  const verification = isInsecure ? 'unverified' : 'verified';
  const found = await folders?.describe(url);
  if (found === undefined) return { verification, ...none };
  return {
    verification,
    options,
    folder: found.folder,
    authorities: found.authorities.map(withExpiry),
    clientCertificates: requiresClient ? [] : found.identities.map(withExpiry),
    fault: found.fault,
  };
}

function withExpiry({ file, validTo }: CertificateFile): PolicyCertificate {
  return { file, validTo, isExpired: validTo !== undefined && Date.parse(validTo) < Date.now() };
}
