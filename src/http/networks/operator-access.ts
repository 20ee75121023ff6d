import type { IncomingMessage } from 'node:http';
import { PassthroughError } from '../../errors.ts';
import { type Networks, parseNetworks } from '../../util/network/networks.ts';
import { printable, quoted } from '../../util/printable.ts';
import type { Client } from './client.ts';

/** What {@link refuseOutsider} reads of a request. */
export interface OperatorRequest {
  readonly client: Pick<Client, 'address'> & { readonly peer: Pick<Client['peer'], 'address'> };
  readonly request: Pick<IncomingMessage, 'headers'>;
}

/** https://www.rfc-editor.org/rfc/rfc6890#section-2.2.2, https://www.rfc-editor.org/rfc/rfc4291#section-2.5.3 */
const LOOPBACK = parseNetworks('127.0.0.0/8, ::1');

/** Fields by which a proxy says for whom it asks, besides those that begin with `x-forwarded-`. */
const FORWARDING: ReadonlySet<string> = new Set(['forwarded', 'via', 'x-real-ip']);

/**
 * Refuses a request for what only operators may see. The client must be in a listed network. A proxy that is not trusted does not
 * tell who the client is, so nothing that has passed one is answered. A connection from this machine must also name this machine in
 * `Host`, since a page of another site can make a browser ask a name that resolves to a loopback address (DNS rebinding), and an SSH
 * tunnel or a proxy that adds no field would be taken for the machine itself.
 *
 * @param networks `STATUS_ALLOWED_NETWORKS`
 * @throws PassthroughError `CLIENT_NOT_ALLOWED` that names the variable
 */
export function refuseOutsider(
  { client: { address, peer }, request }: OperatorRequest,
  networks: Networks,
): void {
  const { headers } = request;
  const forwarding = Object.keys(headers).find(
    (name) => FORWARDING.has(name) || name.startsWith('x-forwarded-'),
  );
  const isForwarded = address !== peer.address;
  if (forwarding !== undefined && !isForwarded) {
    throw notAllowed(
      `it came through a proxy (it has ${printable(forwarding)}), so the client is not known; ask the service itself`,
    );
  }
  if (!networks.contains(address)) throw notAllowed(`the list does not have ${quoted(address)}`);
  if (!LOOPBACK.contains(address)) return;
  // The machine of a proxy is not this one.
  if (isForwarded) throw notAllowed('it came through a proxy that names a loopback address');
  const { host = '' } = headers;
  if (!isLoopbackHost(host))
    throw notAllowed(`it comes from this machine, but its Host is ${quoted(host)}; ask for localhost`);
}

/** Whether a `Host` field names this machine: https://www.rfc-editor.org/rfc/rfc6761#section-6.3 */
function isLoopbackHost(host: string): boolean {
  const hostname = URL.parse(`http://${host}`)?.hostname ?? '';
  return hostname === 'localhost' || LOOPBACK.contains(hostname.replace(/^\[|\]$/g, ''));
}

function notAllowed(why: string): PassthroughError {
  return new PassthroughError(
    'CLIENT_NOT_ALLOWED',
    `Cannot answer the request: STATUS_ALLOWED_NETWORKS says who may ask for this, and ${why}`,
  );
}
