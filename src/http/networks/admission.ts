import type { ListenerSettings } from '../../config/listener.ts';
import { VARIABLES } from '../../config/variables.ts';
import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { UNIX_ADDRESS } from '../connections/peer.ts';
import type { Client } from './client.ts';

/**
 * Refuses a client that may not be served, whatever it asks for. The mode of a Unix socket's file decides who can connect to it, so
 * its peers need no network, except for clients of a proxy behind it.
 *
 * @param httpsPort the port of https that is open
 * @param host of the request, for a hint
 * @throws PassthroughError `HTTPS_REQUIRED` on the plain port where that is for probes alone; `CLIENT_NOT_ALLOWED` for a client
 *   outside of `CLIENT_ALLOWED_NETWORKS`
 */
export function refuseClient(
  { address, peer }: Client,
  { allowedNetworks, isHttpsOnly, tls }: ListenerSettings,
  httpsPort: number | undefined,
  host: string | undefined,
): void {
  if (allowedNetworks !== undefined && address !== UNIX_ADDRESS && !allowedNetworks.contains(address)) {
    throw new PassthroughError(
      'CLIENT_NOT_ALLOWED',
      `Cannot answer ${quoted(address)}: ${VARIABLES.allowedNetworks} does not list it`,
    );
  }
  if (!isHttpsOnly || peer.entrance !== 'http') return;
  const name = host === undefined ? undefined : URL.parse(`http://${host}`)?.hostname;
  const where = name && httpsPort !== undefined ? `https://${name}:${httpsPort}` : 'https';
  const withWhat = tls?.clientAuthorities === undefined ? '' : ', with a client certificate';
  throw new PassthroughError('HTTPS_REQUIRED', `Cannot answer over plain http: use ${where}${withWhat}`);
}
