/** TLS by registry: certificates in folders, and hosts whose certificates are not verified. */

import { statSync } from 'node:fs';
import type { HostPattern } from '../registry/host-pattern.ts';
import { CertificateFolders } from '../registry/transport/certificate-folders.ts';
import { systemErrorCode } from '../util/system-error.ts';
import { type EnvironmentReader, invalidVariable } from './environment.ts';

/** TLS settings of the service. */
export interface TlsConfig {
  /** Hosts whose certificates are accepted unverified. */
  readonly insecureHosts: readonly HostPattern[];
  readonly folders: CertificateFolders | undefined;
}

/**
 * Reads `REGISTRY_CERTS_DIR` and `REGISTRY_INSECURE_HOSTS`.
 *
 * @returns `undefined` if neither is set
 * @throws PassthroughError `INVALID_CONFIGURATION`; the files in the folder are not read here
 */
export function readTls(read: EnvironmentReader): TlsConfig | undefined {
  const insecureHosts = readInsecureHosts(read);
  const name = 'REGISTRY_CERTS_DIR';
  const folder = read.text(name);
  if (folder === undefined)
    return insecureHosts.length === 0 ? undefined : { insecureHosts, folders: undefined };
  const fault = faultOf(folder);
  if (fault !== undefined) throw invalidVariable(name, folder, fault);
  return { insecureHosts, folders: new CertificateFolders([folder], { name }) };
}

/** An entry with http would have no effect, so it is refused. */
function readInsecureHosts(read: EnvironmentReader): readonly HostPattern[] {
  const name = 'REGISTRY_INSECURE_HOSTS';
  const hosts = read.hosts(name);
  if (hosts.some(({ scheme }) => scheme === 'http:'))
    throw invalidVariable(
      name,
      read.text(name) ?? '',
      'expected hosts that speak https, and one is for http: REGISTRY_PLAIN_HTTP_HOSTS is for those',
    );
  return hosts;
}

function faultOf(folder: string): string | undefined {
  try {
    return statSync(folder).isDirectory() ? undefined : 'it is no folder';
  } catch (error) {
    const code = systemErrorCode(error);
    return code === 'ENOENT' ? 'it does not exist' : `it cannot be read (${code ?? 'unknown'})`;
  }
}
