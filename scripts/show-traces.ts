/**
 * `npm run traces`: prints a successful and a failed trace of a real run as text trees: the built service, a registry that
 * requires a token and answers 503 once, and a collector that receives the spans over OTLP/gRPC.
 *
 * docs/telemetry.md shows what this prints, and a test compares both, so nothing that differs from run to run is in it.
 */

import type { ExportedSpan } from '../test/support/otlp-receiver.ts';
import { basic } from '../test/support/pair.ts';
import { FILE, IMAGE, type Scene, startScene, traceOf, USER } from '../test/telemetry/scene.ts';

/** Column of the details of a span. */
const NAME_WIDTH = 56;

/** The registry of both traces. */
const auth = { mode: 'token', users: new Map([[USER.name, USER.password]]) } as const;

/** Layers are fetched one after the other, so that the order of the lines is fixed. */
const ONE_BY_ONE = { MAX_CONCURRENT_LAYERS: '1' };

/** A pull with the client's credentials. It needs a token, and the manifest request is repeated once. */
export async function healthyTrace(): Promise<string> {
  return formatTrace(await healthySpans());
}

/** The spans of {@link healthyTrace}. */
export async function healthySpans(): Promise<readonly ExportedSpan[]> {
  const failWith = { pattern: /manifests\/sha256/, status: 503, times: 1 };
  await using scene = await startScene({ auth, defects: { failWith } }, ONE_BY_ONE);
  return await spansOfPull(scene);
}

/** The same pull, but the bytes of a layer do not match its digest. */
export async function failedTrace(): Promise<string> {
  const [, layer] = IMAGE.layers;
  const wrongBlobDigest = { digest: layer?.digest ?? '' };
  await using scene = await startScene({ auth, defects: { wrongBlobDigest } }, ONE_BY_ONE);
  return formatTrace(await spansOfPull(scene));
}

async function spansOfPull(scene: Scene): Promise<readonly ExportedSpan[]> {
  const headers = { authorization: basic(USER.name, USER.password) };
  const reply = await scene.service.request(FILE, { headers });
  return await traceOf(scene, { id: reply.headers['x-request-id'] });
}

/**
 * Writes a trace as a tree of lines.
 *
 * @param spans of one trace
 */
export function formatTrace(spans: readonly ExportedSpan[]): string {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const childrenOf = (id: string) => inOrder(spans.filter(({ parentSpanId }) => parentSpanId === id));
  const lines = (span: ExportedSpan, first: string, further: string): string[] => {
    const children = childrenOf(span.spanId);
    const own = `${`${first}${span.name}`.padEnd(NAME_WIDTH)} ${describeSpan(span)}`.trimEnd();
    const events = span.events.map(
      ({ name, attributes }) =>
        `${further}${children.length > 0 ? '│ ' : '  '}! ${name} ${short(attributes['oci.digest.expected'])} ≠ ${short(attributes['oci.digest.actual'])}`,
    );
    return [
      own,
      ...events,
      ...children.flatMap((child, index) => {
        const isLast = index === children.length - 1;
        return lines(child, `${further}${isLast ? '└─ ' : '├─ '}`, `${further}${isLast ? '   ' : '│  '}`);
      }),
    ];
  };
  const roots = spans.filter(({ parentSpanId }) => parentSpanId === undefined || !ids.has(parentSpanId));
  return roots.flatMap((root) => lines(root, '', '')).join('\n');
}

/** Spans by their start. */
export function inOrder(spans: readonly ExportedSpan[]): ExportedSpan[] {
  return spans.toSorted((a, b) => Number(a.startNs - b.startNs));
}

/** The main attributes of a span: its kind unless internal, its result, and whether it is a repetition. */
export function describeSpan({ kind, attributes }: ExportedSpan): string {
  const resend = attributes['http.request.resend_count'];
  const error = attributes['error.type'];
  const facts = [
    kind === 'internal' ? undefined : kind,
    attributes['http.response.status_code'],
    resend === undefined ? undefined : `resend ${resend}`,
    error === undefined ? undefined : `error.type=${error}`,
  ];
  return facts.filter((fact) => fact !== undefined).join(' ');
}

/** A shortened digest. */
function short(digest: unknown): string {
  return `${String(digest).slice(0, 'sha256:'.length + 8)}…`;
}

if (import.meta.main) {
  console.log(`A pull that succeeds\n\n${await healthyTrace()}\n`);
  console.log(`A pull that fails\n\n${await failedTrace()}`);
}
