import { type IncomingHttpHeaders, type IncomingMessage, METHODS } from 'node:http';
import type { Attributes } from '@opentelemetry/api';

/** Query parameters that mean something here; any other may be a secret that a client has put where none belongs. */
const SHOWN_PARAMETERS = new Set(['platform', 'arch']);

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
    'url.scheme': forwarded(headers, 'proto', 'x-forwarded-proto')?.toLowerCase() ?? 'http',
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

/** The method, where it is one; what else a client made up goes beside it, so that names of spans and metrics stay few. */
export function methodAttributes(method = '') {
  return METHODS.includes(method)
    ? { 'http.request.method': method }
    : { 'http.request.method': '_OTHER', 'http.request.method_original': method };
}

/** The address that the client asked for: the one in `Host`, else that of the socket. */
function serverAddress({ headers, socket }: IncomingMessage): Attributes {
  const host = URL.parse(`http://${forwarded(headers, 'host', 'x-forwarded-host') ?? headers.host ?? ''}`);
  return {
    'server.address': host?.hostname.replace(/^\[|\]$/g, '') ?? socket.localAddress,
    'server.port': Number(host?.port || socket.localPort),
  };
}

function forwardedAddress(headers: IncomingHttpHeaders): string | undefined {
  const address = forwarded(headers, 'for', 'x-forwarded-for');
  return address?.replace(/^\[([^\]]*)\](?::\d+)?$/, '$1').replace(/^([\d.]+):\d+$/, '$1');
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

/** No part of a path has an `@` but one before a digest, so what stands around any other may be a password. */
function redactedPath(path: string): string {
  const shown = path.replace(/^https?:\/\/[^/]*/i, '').slice(0, MAX_PATH_LENGTH);
  return shown
    .split('/')
    .map((part) => (/@(?!sha\d+:)|%(?:25)*40(?!sha\d+(?::|%3a))/i.test(part) ? 'REDACTED' : part))
    .join('/');
}

function redactedQuery(query: string): string {
  const parameters = new URLSearchParams(query.slice(0, MAX_PATH_LENGTH));
  const shown = [...parameters].map(([name, value]) =>
    SHOWN_PARAMETERS.has(name) && !value.includes('@') ? [name, value] : [nameOf(name), 'REDACTED'],
  );
  return new URLSearchParams(shown).toString();
}

/** A name that is no plain word may be the value itself. */
function nameOf(name: string): string {
  return /^[a-z_-]{1,32}$/i.test(name) ? name : 'REDACTED';
}

function withoutUndefined(attributes: Readonly<Record<string, Attributes[string]>>): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}
