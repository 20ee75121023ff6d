/** Certificates that this process trusts. */

import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { TlsSettings } from '../../support/listening.ts';
import { makeCertificates } from '../../support/tls.ts';

/**
 * Makes this process trust the private authority of the tests, as `NODE_EXTRA_CA_CERTS` would.
 *
 * @returns settings for servers with a certificate of that authority
 */
export async function trustTestAuthority(): Promise<TlsSettings> {
  const { ca, cert, key } = await makeCertificates();
  setDefaultCACertificates([...getCACertificates('default'), ca]);
  return { cert, key };
}
