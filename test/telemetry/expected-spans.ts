/** Builders of expected spans. */

import type { AttributeValue } from '../support/otlp-receiver.ts';
import { ANY, type SpanTree } from './span-tree.ts';

type Attributes = Readonly<Record<string, AttributeValue | undefined>>;

/** The parts of a span with defaults: no failure, no events, no children. */
type Rest = Partial<Pick<SpanTree, 'status' | 'events' | 'children'>>;

function span(
  name: string,
  kind: SpanTree['kind'],
  attributes: Attributes,
  { status = 'unset', events = [], children = [] }: Rest,
): SpanTree {
  const present = Object.entries(attributes).filter(([, value]) => value !== undefined);
  return {
    name,
    kind,
    status,
    attributes: Object.fromEntries(present) as SpanTree['attributes'],
    events,
    children,
  };
}

/** The span of a request. */
export function server(
  name: string,
  { port, path, method = 'GET' }: { port: number; path: string; method?: string },
  attributes: Attributes,
  rest: Rest = {},
): SpanTree {
  const route = name.split(' ')[1];
  const query = attributes['url.query'];
  return span(
    name,
    'server',
    {
      'http.request.method': name.startsWith('HTTP') ? '_OTHER' : method,
      'http.request.method_original': name.startsWith('HTTP') ? method : undefined,
      'http.route': route,
      'url.full': `http://127.0.0.1:${port}${path}${query === undefined ? '' : `?${query}`}`,
      'url.path': path,
      'url.scheme': 'http',
      'server.address': '127.0.0.1',
      'server.port': port,
      'client.address': '127.0.0.1',
      'network.peer.address': '127.0.0.1',
      'network.peer.port': ANY,
      'network.protocol.name': 'http',
      'network.protocol.version': '1.1',
      'network.transport': 'tcp',
      ...attributes,
    },
    rest,
  );
}

/** The span of a step within the service. */
export function internal(name: string, attributes: Attributes = {}, rest: Rest = {}): SpanTree {
  return span(name, 'internal', attributes, rest);
}

/** One request to a registry, its storage or its token endpoint. */
export interface Attempt {
  /** Default: `GET`. */
  readonly method?: 'HEAD';
  readonly origin: string;
  readonly path: string;
  readonly template: string;
  readonly operation: 'manifest' | 'token' | 'config' | 'layer' | 'tags';
  /** `undefined` without an answer. */
  readonly status: number | undefined;
  /** Bytes of the body; absent if it was not read to its end. */
  readonly size?: number | typeof ANY | undefined;
  /** Number of earlier attempts. */
  readonly resend?: number;
  /** Scheme of `Authorization`. */
  readonly auth?: 'none' | 'basic' | 'bearer';
  /** Whose credentials it has, if it has some. Default: the operator's. */
  readonly source?: 'client' | 'environment';
  /** Service of its token. */
  readonly service?: string | undefined;
  readonly isConfigured?: boolean;
  /** `error.type` of a failed attempt. */
  readonly error?: string;
}

/** The span of an attempt. */
export function client(attempt: Attempt): SpanTree {
  const { origin, path, template, operation, status, size, resend = 0, auth = 'none', error } = attempt;
  const { protocol, hostname, port } = new URL(origin);
  const { method = 'GET' } = attempt;
  return span(
    operation === 'token' ? 'GET {registry_token_endpoint}' : `${method} ${template}`,
    'client',
    {
      'http.request.method': method,
      'url.full': `${origin}${path}`,
      'url.path': path,
      'url.scheme': protocol.slice(0, -1),
      'url.template': template,
      'server.address': hostname,
      'server.port': Number(port),
      'network.protocol.name': 'http',
      'network.transport': 'tcp',
      'user_agent.original': 'docker-http-passthrough/0.1.0',
      'registry.operation': operation,
      'registry.auth.configured': attempt.isConfigured ?? false,
      'registry.auth.type': auth,
      'registry.auth.source': auth === 'none' ? undefined : (attempt.source ?? 'environment'),
      'registry.auth.service': attempt.service,
      'registry.auth.scope_present': attempt.service !== undefined,
      'http.request.resend_count': resend === 0 ? undefined : resend,
      'http.response.body.size': size,
      'error.type': error,
      ...(status !== undefined && {
        'http.response.status_code': status,
        'network.peer.address': hostname,
        'network.peer.port': Number(port),
        'network.protocol.version': '1.1',
      }),
    },
    error === undefined ? {} : { status: 'error' },
  );
}
