import type { IncomingMessage } from 'node:http';
import type { Attributes } from '@opentelemetry/api';
import { printable } from '../../util/printable.ts';
import { UNIX_ADDRESS } from '../connections/peer.ts';
import type { Client } from '../networks/client.ts';
import { mayHoldCredentials } from '../routing/path.ts';

/** Query parameters whose values are shown. Any other may be a secret in the wrong place. */
const SHOWN_PARAMETERS = new Set(['platform', 'arch', 'layout', 'format', 'type', 'image', 'since', 'start']);

/** Longest path that is shown, in characters: the longest that a route takes. */
const MAX_PATH_LENGTH = 2048;

/**
 * The attributes of a server span that describe its request.
 *
 * @param route template of the path; `undefined` if it fits no route
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
 */
export function requestAttributes(
  request: IncomingMessage,
  route: string | undefined,
  client: Client,
): Attributes {
  const { headers } = request;
  const { scheme, peer } = client;
  const [, query = ''] = (request.url ?? '').split(/\?(.*)/s);
  const shownPath = redactedPath(request.url);
  const shownQuery = redactedQuery(query);
  const server = serverAddress(request, client);
  return withoutUndefined({
    ...methodAttributes(request.method),
    'http.route': route,
    'url.full': fullUrl(scheme, server, shownPath, shownQuery),
    'url.path': shownPath,
    'url.query': shownQuery === '' ? undefined : shownQuery,
    'url.scheme': scheme,
    ...server,
    'client.address': client.address || undefined,
    'network.peer.address': peer.entrance === 'unix' ? undefined : peer.address || undefined,
    'network.peer.port': peer.port,
    'network.protocol.name': 'http',
    'network.protocol.version': request.httpVersion,
    'network.transport': peer.entrance === 'unix' ? UNIX_ADDRESS : 'tcp',
    'passthrough.client.certificate': peer.certificate,
    'user_agent.original': shown(headers['user-agent']),
  });
}

/** The attributes of the server's address. */
interface ServerAddress {
  readonly 'server.address': string | undefined;
  readonly 'server.port': number | undefined;
}

/** Methods that the conventions know: those of RFC 9110, PATCH and QUERY. */
const METHODS = new Set([
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'QUERY',
  'TRACE',
]);

/** The method. An unknown one goes into an attribute of its own, so that span names and metrics stay few. */
export function methodAttributes(method = '') {
  return METHODS.has(method)
    ? { 'http.request.method': method }
    : { 'http.request.method': '_OTHER', 'http.request.method_original': method };
}

/** The address that the client requested: that of a trusted proxy or of `Host`, else of the socket. */
function serverAddress({ headers, socket }: IncomingMessage, { scheme, host }: Client): ServerAddress {
  const url = URL.parse(`${scheme}://${host ?? headers.host ?? ''}`);
  if (url === null) return { 'server.address': socket.localAddress, 'server.port': socket.localPort };
  return {
    'server.address': url.hostname.replace(/^\[|\]$/g, ''),
    'server.port': Number(url.port || (url.protocol === 'https:' ? 443 : 80)),
  };
}

/**
 * The path of a request target, as telemetry and log show it.
 *
 * @returns `/REDACTED` if it may contain a password. A password may contain a slash, so all of the path is left out
 */
export function redactedPath(target = ''): string {
  const [path = ''] = target.split('?', 1);
  const shown = path.replace(/^https?:\/\/[^/]*/i, '').slice(0, MAX_PATH_LENGTH);
  return mayHoldCredentials(path) ? '/REDACTED' : shown;
}

/**
 * A request target with its query, as the log shows it: the values of all but a few parameters are left out.
 *
 * @see redactedPath
 */
export function redactedTarget(target: string): string {
  const [, query = ''] = target.split(/\?(.*)/s);
  const shownQuery = redactedQuery(query);
  return `${redactedPath(target)}${shownQuery === '' ? '' : `?${shownQuery}`}`;
}

/** The URL that the client requested, without user information; `undefined` if the server's address is not known. */
function fullUrl(
  scheme: 'http' | 'https',
  { 'server.address': address, 'server.port': port }: ServerAddress,
  path: string,
  query: string,
): string | undefined {
  if (address === undefined) return undefined;
  const host = address.includes(':') ? `[${address}]` : address;
  const isDefault = port === undefined || port === (scheme === 'https' ? 443 : 80);
  return `${scheme}://${host}${isDefault ? '' : `:${port}`}${path}${query === '' ? '' : `?${query}`}`;
}

function redactedQuery(query: string): string {
  const parameters = query === '' ? [] : query.slice(0, MAX_PATH_LENGTH).split('&');
  return parameters
    .map((parameter) => {
      const [name = ''] = parameter.split('=', 1);
      if (SHOWN_PARAMETERS.has(name) && !mayHoldCredentials(parameter)) return parameter;
      // A name that is not a plain word may be a secret itself.
      return `${/^[a-z_-]{1,32}$/i.test(name) ? name : 'REDACTED'}=REDACTED`;
    })
    .join('&');
}

function shown(text: string | undefined): string | undefined {
  return text === undefined ? undefined : printable(text);
}

function withoutUndefined(attributes: Readonly<Record<string, Attributes[string]>>): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}
