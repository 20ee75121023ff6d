/**
 * The trace of docs/telemetry.md as a picture: the spans of a real pull, each as a bar from its start to its end. The times are those of
 * the run that wrote it; everything else is the same at every run.
 */

import type { ExportedSpan } from '../../test/support/otlp-receiver.ts';
import { describeSpan, healthySpans, inOrder } from '../show-traces.ts';
import { escaped, MONOSPACE } from './svg.ts';

/** Sizes in pixels. */
const WIDTH = 1000;
const NAMES = 500;
const ROW = 22;
const INDENT = 14;
const PADDING = 12;
const HEADER = 30;
const FONT = 12;

/** Narrowest bar, so that a short span can be seen. */
const MIN_BAR = 2;

/** Room for the time behind a bar. */
const TIME = 66;

const COLOURS: Readonly<Record<ExportedSpan['kind'], string>> = {
  server: '#4051b5',
  client: '#e08a1e',
  internal: '#3f9b78',
  producer: '#888888',
  consumer: '#888888',
};

interface Row {
  readonly span: ExportedSpan;
  readonly depth: number;
}

/** Spans as rows, each below its parent. */
function rowsOf(spans: readonly ExportedSpan[], parent?: string, depth = 0): readonly Row[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const isChild = ({ parentSpanId }: ExportedSpan) =>
    parent === undefined ? parentSpanId === undefined || !ids.has(parentSpanId) : parentSpanId === parent;
  return inOrder(spans.filter(isChild)).flatMap((span) => [
    { span, depth },
    ...rowsOf(spans, span.spanId, depth + 1),
  ]);
}

function draw(spans: readonly ExportedSpan[]): string {
  const rows = rowsOf(spans);
  const [root] = rows;
  if (root === undefined) throw new Error('Cannot draw a trace without spans');
  const start = root.span.startNs;
  const total = Number(root.span.endNs - start);
  const scale = (WIDTH - NAMES - TIME - 2 * PADDING) / total;
  const height = HEADER + rows.length * ROW + 2 * PADDING;
  const bars = rows.map(({ span, depth }, index) => {
    const y = HEADER + PADDING + index * ROW;
    const x = NAMES + Number(span.startNs - start) * scale;
    const length = Math.max(Number(span.endNs - span.startNs) * scale, MIN_BAR);
    // The colour of its bar says of which kind a span is.
    const name = `${span.name} ${describeSpan({ ...span, kind: 'internal' })}`.trim();
    const time = `${(Number(span.endNs - span.startNs) / 1e6).toFixed(1)} ms`;
    const colour = span.attributes['error.type'] === undefined ? COLOURS[span.kind] : '#cc3b3b';
    return [
      `  <text class="span" x="${PADDING + depth * INDENT}" y="${y + 15}">${escaped(name)}</text>`,
      `  <rect x="${x.toFixed(1)}" y="${y + 4}" width="${length.toFixed(1)}" height="${ROW - 8}" rx="2" fill="${colour}"/>`,
      `  <text class="time" x="${(x + length + 5).toFixed(1)}" y="${y + 15}">${time}</text>`,
    ].join('\n');
  });
  const legend = (['server', 'client', 'internal'] as const).map((kind, index) => {
    const x = NAMES + index * 90;
    return `  <rect x="${x}" y="12" width="12" height="12" rx="2" fill="${COLOURS[kind]}"/><text x="${x + 18}" y="22">${kind}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" font-family="${MONOSPACE}" font-size="${FONT}" fill="#1e2430">`,
    '  <title>The spans of one pull, from the request to its last byte</title>',
    `  <rect width="${WIDTH}" height="${height}" rx="8" fill="#f6f7f9"/>`,
    ...legend,
    ...bars,
    '</svg>',
    '',
  ].join('\n');
}

/** The picture, from a pull that is made now. */
export async function tracePicture(): Promise<string> {
  return draw(await healthySpans());
}

/** What the bars are called, from top to bottom, with their indentation: what does not differ from run to run. */
export function namesIn(picture: string): readonly string[] {
  const texts = [...picture.matchAll(/<text class="span" x="(\d+)" y="\d+">([^<]*)<\/text>/g)];
  return texts.map(([, x = '', name = '']) => `${x} ${name}`);
}
