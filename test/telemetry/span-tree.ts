/** Traces as trees, to be compared with trees that somebody has written down. */

import assert from 'node:assert/strict';
import type { AttributeValue, ExportedSpan } from '../support/otlp-receiver.ts';

/** A span and all that hangs below it, without what differs from run to run. */
export interface SpanTree {
  readonly name: string;
  readonly kind: ExportedSpan['kind'];
  readonly status: ExportedSpan['status'];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly events: readonly (readonly [name: string, attributes: Readonly<Record<string, AttributeValue>>])[];
  readonly children: readonly SpanTree[];
}

/** Stands for a value that nobody can know beforehand, such as the port that a client was given. */
export const ANY = '(any)';

/** Attributes of which only the presence is compared, behind what kind of span they are on. */
const UNPREDICTABLE = new Set([
  'server network.peer.port',
  'server error http.response.body.size',
  'GET {registry_token_endpoint} http.response.body.size',
]);

/** Milliseconds by which the clocks of two spans of one process may differ. */
const TOLERANCE_NS = 5_000_000n;

function isUnpredictable({ kind, status, name }: ExportedSpan, attribute: string): boolean {
  return [kind, `${kind} ${status}`, name].some((whose) => UNPREDICTABLE.has(`${whose} ${attribute}`));
}

/**
 * The trees of a trace. Spans that no span of the trace is above are roots.
 *
 * @param spans of one trace
 */
export function treesOf(spans: readonly ExportedSpan[]): SpanTree[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const below = (id: string) => spans.filter(({ parentSpanId }) => parentSpanId === id);
  const tree = (span: ExportedSpan): SpanTree => ({
    name: span.name,
    kind: span.kind,
    status: span.status,
    attributes: Object.fromEntries(
      Object.entries(span.attributes).map(([name, value]) => [
        name,
        isUnpredictable(span, name) ? ANY : value,
      ]),
    ),
    events: span.events.map(({ name, attributes }) => [name, attributes] as const),
    children: below(span.spanId).map(tree),
  });
  return spans
    .filter(({ parentSpanId }) => parentSpanId === undefined || !ids.has(parentSpanId))
    .map((span) => sorted(tree(span)));
}

/** Puts the children of each span in an order that does not depend on who was first: siblings run side by side. */
export function sorted(tree: SpanTree): SpanTree {
  const key = ({ name, attributes }: SpanTree) =>
    [name, attributes['url.path'], attributes['http.request.resend_count'] ?? 0].join(' ');
  const children = tree.children.map(sorted).toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
  return { ...tree, children };
}

/** Fails unless every span lies within the one above it: what has ended cannot wait for its parts any more. */
export function assertNested(spans: readonly ExportedSpan[]): void {
  for (const span of spans) {
    assert.ok(span.startNs <= span.endNs, span.name);
    const above = spans.find(({ spanId }) => spanId === span.parentSpanId);
    if (above === undefined) continue;
    assert.ok(span.startNs >= above.startNs - TOLERANCE_NS, `${span.name} begins before ${above.name}`);
    assert.ok(span.endNs <= above.endNs + TOLERANCE_NS, `${span.name} ends after ${above.name}`);
  }
}

/** Types that the conventions and the product's own table give; what is not here is a string. */
const TYPES: Readonly<Record<string, string>> = {
  'server.port': 'int',
  'network.peer.port': 'int',
  'http.response.status_code': 'int',
  'http.request.resend_count': 'int',
  'http.response.body.size': 'int',
  'oci.layer.index': 'int',
  'oci.layer.compressed_size': 'int',
  'oci.layer.decompressed_size': 'int',
  'container.image.tags': 'array<string>',
  'container.image.repo_digests': 'array<string>',
  'registry.auth.configured': 'bool',
  'registry.auth.scope_present': 'bool',
  'registry.client_auth.credentials_present': 'bool',
  'registry.client_auth.credentials_used': 'bool',
  'registry.client_auth.challenge_sent': 'bool',
};

/** Fails unless every attribute has its type. */
export function assertTypes(spans: readonly ExportedSpan[]): void {
  for (const { name, types } of spans) {
    for (const [attribute, type] of Object.entries(types)) {
      assert.equal(type, TYPES[attribute] ?? 'string', `${attribute} of ${name}`);
    }
  }
}
