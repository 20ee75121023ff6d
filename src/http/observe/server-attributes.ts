import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import type { Attributes } from '@opentelemetry/api';
import { mayHoldCredentials } from '../routing/path.ts';

/** Query parameters that mean something here; any other may be a secret that a client has put where none belongs. */
const SHOWN_PARAMETERS = new Set(['platform', 'arch', 'layout', 'format', 'type', 'image']);

/** Longest path that is shown, in characters: the longest that any route takes. */
const MAX_PATH_LENGTH = 2048;

/**
 * What a server span says of its request.
 *
 * @param route template of its path; `undefined` where it fits none
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
 */
export function requestAttributes(request: IncomingMessage, route: string | undefined): Attributes {
  const { headers, socket } = request;
  const [path = '', query = ''] = (request.url ?? '').split(/\?(.*)/s);
  const shownQuery = redactedQuery(query);
  return withoutUndefined({
    ...methodAttributes(request.method),
    'http.route': route,
    'url.path': redactedPath(path),
    'url.query': shownQuery === '' ? undefined : shownQuery,
    'url.scheme': schemeOf(headers),
    ...serverAddress(request),
    'client.address': forwardedAddress(headers) ?? socket.remoteAddress,
    'network.peer.address': socket.remoteAddress,
    'network.peer.port': socket.remotePort,
    'network.protocol.name': 'http',
    'network.protocol.version': request.httpVersion,
    'network.transport': 'tcp',
    'user_agent.original': headers['user-agent'],
  });
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

/** The method, where it is a common one; any other stands beside it, so that names of spans and metrics stay few. */
export function methodAttributes(method = '') {
  return METHODS.has(method)
    ? { 'http.request.method': method }
    : { 'http.request.method': '_OTHER', 'http.request.method_original': method };
}

/** The scheme that the client used, as far as a proxy says so: this service itself speaks plain http. */
function schemeOf(headers: IncomingHttpHeaders): 'http' | 'https' {
  return forwarded(headers, 'proto', 'x-forwarded-proto')?.toLowerCase() === 'https' ? 'https' : 'http';
}

/** The address that the client asked for: the one in `Host`, else that of the socket. */
function serverAddress({ headers, socket }: IncomingMessage): Attributes {
  const host = forwarded(headers, 'host', 'x-forwarded-host') ?? headers.host ?? '';
  const url = URL.parse(`${schemeOf(headers)}://${host}`);
  if (url === null)
    return withoutUndefined({ 'server.address': socket.localAddress, 'server.port': socket.localPort });
  return {
    'server.address': url.hostname.replace(/^\[|\]$/g, ''),
    'server.port': Number(url.port || (url.protocol === 'https:' ? 443 : 80)),
  };
}

function forwardedAddress(headers: IncomingHttpHeaders): string | undefined {
  const node = forwarded(headers, 'for', 'x-forwarded-for') ?? '';
  const address = node.replace(/^\[([^\]]*)\](?::\d+)?$/, '$1').replace(/^([\d.]+):\d+$/, '$1');
  return isIP(address) === 0 ? undefined : address;
}

/**
 * What the first proxy said, in the standard header or the one that went before it. Nothing but telemetry goes by it, for
 * anybody can send it.
 *
 * @see https://www.rfc-editor.org/rfc/rfc7239#section-4
 */
function forwarded(headers: IncomingHttpHeaders, parameter: string, legacy: string): string | undefined {
  const [first = ''] = (headers['forwarded'] ?? '').split(',', 1);
  const pair = first.split(';').find((part) => part.trim().toLowerCase().startsWith(`${parameter}=`));
  const old = headers[legacy];
  const value =
    pair?.slice(pair.indexOf('=') + 1).replaceAll('"', '') ??
    (Array.isArray(old) ? old[0] : old)?.split(',', 1)[0];
  return value?.trim() || undefined;
}

/** A password may hold a slash, so that nobody knows which part of such a path it is. */
function redactedPath(path: string): string {
  const shown = path.replace(/^https?:\/\/[^/]*/i, '').slice(0, MAX_PATH_LENGTH);
  return mayHoldCredentials(path) ? '/REDACTED' : shown;
}

function redactedQuery(query: string): string {
  const parameters = query === '' ? [] : query.slice(0, MAX_PATH_LENGTH).split('&');
  return parameters
    .map((parameter) => {
      const [name = ''] = parameter.split('=', 1);
      if (SHOWN_PARAMETERS.has(name) && !mayHoldCredentials(parameter)) return parameter;
      // A name that is no plain word may be the value itself.
      return `${/^[a-z_-]{1,32}$/i.test(name) ? name : 'REDACTED'}=REDACTED`;
    })
    .join('&');
}

function withoutUndefined(attributes: Readonly<Record<string, Attributes[string]>>): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}
