/** Traces as trees, for comparisons with expected trees. */

import assert from 'node:assert/strict';
import type { AttributeValue, ExportedSpan } from '../support/otlp-receiver.ts';

/** A span with its children, without values that differ in each run. */
export interface SpanTree {
  readonly name: string;
  readonly kind: ExportedSpan['kind'];
  readonly status: ExportedSpan['status'];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly events: readonly (readonly [name: string, attributes: Readonly<Record<string, AttributeValue>>])[];
  readonly children: readonly SpanTree[];
}

/** Stands for an unpredictable value, such as the port of a client. */
export const ANY = '(any)';

/** Attributes with unpredictable values, after the kind or name of their spans. */
const UNPREDICTABLE = new Set([
  'server network.peer.port',
  'server error http.response.body.size',
  'GET {registry_token_endpoint} http.response.body.size',
]);

function isUnpredictable({ kind, status, name }: ExportedSpan, attribute: string): boolean {
  return [kind, `${kind} ${status}`, name].some((whose) => UNPREDICTABLE.has(`${whose} ${attribute}`));
}

/**
 * The trees of a trace. Spans without a parent in the trace are roots.
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

/** Sorts the children of each span, since siblings run concurrently. */
export function sorted(tree: SpanTree): SpanTree {
  const key = ({ name, attributes }: SpanTree) =>
    [name, attributes['url.path'], attributes['http.request.resend_count'] ?? 0].join(' ');
  const children = tree.children.map(sorted).toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
  return { ...tree, children };
}

/**
 * Checks that every span ends before its parent. Their times do not tell: the SDK notes the time of day of a span's start and then
 * begins to measure, and on a busy machine milliseconds lie between. The order in which spans have arrived is that of their ends.
 */
export function assertNested(spans: readonly ExportedSpan[]): void {
  for (const [at, span] of spans.entries()) {
    assert.ok(span.startNs <= span.endNs, span.name);
    const parent = spans.findIndex(({ spanId }) => spanId === span.parentSpanId);
    if (parent !== -1) assert.ok(at < parent, `${span.name} ends after ${spans[parent]?.name}`);
  }
}

/** Types of the documented attributes. Others are strings. */
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

/** Checks the types of all attributes. */
export function assertTypes(spans: readonly ExportedSpan[]): void {
  for (const { name, types } of spans) {
    for (const [attribute, type] of Object.entries(types)) {
      assert.equal(type, TYPES[attribute] ?? 'string', `${attribute} of ${name}`);
    }
  }
}
