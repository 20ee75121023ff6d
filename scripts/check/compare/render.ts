/** Everything that one side has given, as lines of text that two sides can be compared by. */

import { gunzipSync } from 'node:zlib';
import { listTar, sha256 } from '../../../test/support/collect.ts';
import type { LogEvent } from '../../../test/support/memory-log.ts';
import type { ExportedMetric, ExportedSpan } from '../../../test/support/otlp-receiver.ts';
import type { Answer } from './answer.ts';
import { Normaliser } from './normalise.ts';
import type { Observation, Visited } from './side.ts';
import type { UpstreamRequest, World } from './world.ts';

/** The parts that are compared one by one. */
export const SECTIONS = ['answer', 'body', 'log', 'upstream', 'spans', 'metrics', 'output'] as const;
/** One of {@link SECTIONS}. */
export type Section = (typeof SECTIONS)[number];

/** What came of one thing that was done, as text. */
export interface Rendered {
  readonly label: string;
  readonly sections: Readonly<Partial<Record<Section, readonly string[]>>>;
}

/** Metrics of the moment: even that they are there is chance in a short life. */
const OF_THE_MOMENT = /^(?:nodejs|v8js|process)\.|^passthrough\.workspace\.usage$/;

/** Metrics that depend on how far a transfer has come when it breaks. */
const OF_TRANSFERS =
  /^passthrough\.(?:registry\.received|client\.sent|downloads\.active|store\.(?:requests|evictions))$/;

/** Attributes of a resource that name this machine or this process. */
const OF_THE_PROCESS = /^(?:process|host|os)\.|^service\.instance\.id$/;

/** @param hasUnevenBytes whether transfers break on purpose, so that their sizes are chance */
export function render(visited: Visited, world: World, hasUnevenBytes: boolean): readonly Rendered[] {
  return new Renderer(visited, world, hasUnevenBytes).all();
}

class Renderer {
  readonly #visited: Visited;
  readonly #normaliser: Normaliser;
  readonly #hasUnevenBytes: boolean;
  readonly #spanNames: ReadonlyMap<string, string>;
  readonly #traces: ReadonlyMap<string, readonly ExportedSpan[]>;
  readonly #lines: ReadonlyMap<string, readonly LogEvent[]>;
  /** Traces in which a config failed while layers came. How far each of these was is chance. */
  readonly #races: ReadonlySet<string>;

  constructor(visited: Visited, world: World, hasUnevenBytes: boolean) {
    const { logs, receiver, ports, folders } = visited;
    this.#visited = visited;
    this.#hasUnevenBytes = hasUnevenBytes;
    this.#normaliser = new Normaliser({ world, ports, folders });
    this.#spanNames = new Map(receiver.spans.map(({ spanId, name }) => [spanId, name]));
    this.#traces = Map.groupBy(receiver.spans, ({ traceId }) => traceId);
    this.#races = new Set(receiver.spans.filter(isFailedConfig).map(({ traceId }) => traceId));
    this.#lines = Map.groupBy(logs.filter(isOfInterest), (event) =>
      event['event'] === 'request' ? String(event['id']) : '',
    );
  }

  all(): readonly Rendered[] {
    const { observations, hiddenIds } = this.#visited;
    const shown = new Set<string>(hiddenIds);
    const traces = new Set([...hiddenIds].flatMap((id) => this.#tracesOf(id)));
    const rendered = observations.map((observation) => {
      const ids = idsOf(observation);
      for (const id of ids) {
        shown.add(id);
        for (const trace of this.#tracesOf(id)) traces.add(trace);
      }
      return this.#observation(observation, ids);
    });
    return [...rendered, this.#rest(shown, traces)];
  }

  #tracesOf(id: string): readonly string[] {
    const events = this.#lines.get(id) ?? [];
    return events.flatMap((event) => (typeof event['trace_id'] === 'string' ? [event['trace_id']] : []));
  }

  #observation(observation: Observation, ids: readonly string[]): Rendered {
    const { label, answer, text, upstream } = observation;
    const normaliser = this.#normaliser;
    const traces = new Set(ids.flatMap((id) => this.#tracesOf(id)));
    return {
      label: normaliser.text(label),
      sections: {
        answer:
          answer === undefined ? normaliser.text(withoutDate(text ?? '')).split('\n') : this.#answer(answer),
        body: answer === undefined ? [] : this.#body(answer),
        log: ids.flatMap((id) => this.#lines.get(id) ?? []).flatMap((event) => this.#event(event)),
        upstream: upstream
          .filter(
            (request) =>
              !isTunnel(request) && !([...traces].some((trace) => this.#races.has(trace)) && isBlob(request)),
          )
          .map((request) => normaliser.upstream(request))
          .toSorted(),
        spans: [...traces].flatMap((trace) => this.#trees(this.#traces.get(trace) ?? [])),
      },
    };
  }

  /** Everything that belongs to nothing that was done. */
  #rest(ids: ReadonlySet<string>, traces: ReadonlySet<string>): Rendered {
    const { receiver, strayOutput, observations } = this.#visited;
    const events = [...this.#lines].filter(([id]) => !ids.has(id)).flatMap(([, lines]) => lines);
    const spans = [...this.#traces].filter(([id]) => !traces.has(id)).map(([, trace]) => this.#trees(trace));
    const hidden = this.#visited.hiddenIds;
    const exported = receiver.logs.filter(
      ({ attributes }) => !hidden.has(String(attributes['id'])) && isOfInterest(attributes),
    );
    return {
      label: 'besides',
      sections: {
        log: events
          .map((event) => this.#event(event))
          .toSorted(byText)
          .flat(),
        spans: spans.toSorted(byText).flat(),
        metrics: receiver.metrics.flatMap((metric) => this.#metric(metric)).toSorted(),
        upstream: [
          ...new Set(
            observations
              .flatMap(({ upstream }) => upstream.filter(isTunnel))
              .map((request) => this.#normaliser.upstream(request)),
          ),
        ].toSorted(),
        output: [
          ...this.#normaliser.text(strayOutput).split('\n'),
          ...exported
            .map(({ eventName, severityText, body, attributes, traceId }) =>
              [
                severityText,
                eventName,
                body,
                Object.keys(attributes).toSorted(),
                traceId && 'in a trace',
              ].join(' '),
            )
            .toSorted(),
          ...new Set(
            [...receiver.spans, ...receiver.metrics, ...receiver.logs].map(({ resource, scope }) =>
              JSON.stringify([
                scope,
                Object.entries(resource)
                  .filter(([name]) => !OF_THE_PROCESS.test(name))
                  .toSorted(),
              ]),
            ),
          ),
        ],
      },
    };
  }

  #answer({ version, status, reason, headers, isCut }: Answer): string[] {
    const shown = headers.map(([name, value]) => `${name}: ${this.#normaliser.header(name, value)}`);
    const byName = shown.toSorted((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
    return [`HTTP/${version} ${status} ${reason}`, ...byName, ...(isCut ? ['(the connection broke)'] : [])];
  }

  #body({ headers, body, isCut }: Answer): string[] {
    const type = headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? '';
    if (body.length === 0) return [];
    if (isCut) return ['(a part of a body)'];
    if (/^text\/|json\b/.test(type)) return this.#normaliser.text(body.toString()).split('\n');
    return [`${body.length} bytes, ${sha256(body)}`, ...entriesOf(body)];
  }

  #event(event: LogEvent): string[] {
    return [
      `${String(event['level'])} ${String(event['event'])}`,
      ...this.#normaliser.event(event, this.#spanNames),
    ];
  }

  /** The spans of a trace as trees. Siblings run side by side, so their order is that of their text. */
  #trees(spans: readonly ExportedSpan[]): string[] {
    const ids = new Set(spans.map(({ spanId }) => spanId));
    const below = Map.groupBy(spans, ({ parentSpanId }) =>
      parentSpanId !== undefined && ids.has(parentSpanId) ? parentSpanId : '',
    );
    const lines = (span: ExportedSpan, isBelowFailure = false): string[] => {
      if (this.#races.has(span.traceId) && /^download_layer_/.test(span.name)) return [];
      const isFailure = isBelowFailure || span.status === 'error';
      const children = (below.get(span.spanId) ?? [])
        .map((child) => lines(child, isFailure))
        .toSorted(byText)
        .flat();
      const orphan = span.parentSpanId !== undefined && !ids.has(span.parentSpanId) ? ', remote parent' : '';
      const message = span.statusMessage === '' ? '' : `: ${this.#normaliser.text(span.statusMessage)}`;
      return [
        `${span.name} (${span.kind}${orphan}, ${span.status}${message})`,
        ...[...this.#attributes(span, isFailure), ...children].map((line) => `  ${line}`),
      ];
    };
    return (below.get('') ?? [])
      .map((span) => lines(span))
      .toSorted(byText)
      .flat();
  }

  /** @param isFailure whether the step has failed, or one that it is part of: then it is chance how far a body was read */
  #attributes(span: ExportedSpan, isFailure: boolean): string[] {
    const { attributes, types, kind, events } = span;
    const attribute = (name: string) => {
      if (name === 'http.response.body.size' && isFailure) return '(bytes)';
      return this.#normaliser.attribute(name, attributes[name] ?? null, kind === 'server');
    };
    return [
      ...Object.keys(attributes)
        .toSorted()
        .map((name) =>
          `${name} = ${attribute(name)} ${types[name] === 'string' ? '' : types[name]}`.trimEnd(),
        ),
      ...events.map(({ name, attributes: facts }) => {
        // Of too many bytes it is chance how many of them were looked at.
        const isPart = span.statusMessage.includes('its descriptor says') && 'oci.digest.actual' in facts;
        const shown = isPart ? { ...facts, 'oci.digest.actual': '(of a part)' } : facts;
        return `event ${name} ${this.#normaliser.text(JSON.stringify(shown))}`;
      }),
    ];
  }

  #metric({ name, unit, kind, description, points }: ExportedMetric): string[] {
    const isRaced = this.#races.size > 0;
    const isUneven = OF_TRANSFERS.test(name) && (this.#hasUnevenBytes || isRaced);
    if (OF_THE_MOMENT.test(name) || isUneven) return [];
    return points.flatMap(({ attributes, value, count }) => {
      if (isRaced && String(attributes['url.template']).includes('/blobs/')) return [];
      const facts = Object.keys(attributes)
        .toSorted()
        .map((key) => `${key}=${this.#normaliser.attribute(key, attributes[key] ?? null, false)}`);
      const isPolled = this.#visited.hiddenIds.size > 0 && attributes['http.route'] === '/preparations/{id}';
      const worth = isPolled ? '(chance)' : (value ?? count);
      return `${name} [${unit}] ${kind} "${description}" {${facts.join(' ')}} ${worth}`;
    });
  }
}

function idsOf({ answer, text }: Observation): readonly string[] {
  if (text !== undefined)
    return [...text.matchAll(/^X-Request-Id: ([\w-]+)\r?$/gim)].map(([, id = '']) => id);
  const id = answer?.headers.find(([name]) => name.toLowerCase() === 'x-request-id')?.[1];
  return id === undefined ? [] : [id];
}

function isFailedConfig({ name, status }: ExportedSpan): boolean {
  return name === 'fetch_config_blob' && status === 'error';
}

/** That a span is described after its end depends on whether an answer is out before its preparation is. */
function isOfInterest(event: { readonly [name: string]: unknown }): boolean {
  return !String(event['message']).includes('Operation attempted on ended Span');
}

/** A tunnel is opened where no idle connection is left, which depends on how soon the last one was given back. */
function isTunnel({ method }: UpstreamRequest): boolean {
  return method === 'CONNECT';
}

function isBlob({ path }: UpstreamRequest): boolean {
  return path.includes('/blobs/');
}

function withoutDate(text: string): string {
  return text.replace(/^(Date): .*$/gim, '$1: (date)');
}

/** What an archive holds, so that a difference says where it is. */
function entriesOf(body: Buffer): string[] {
  try {
    const tar = body[0] === 0x1f && body[1] === 0x8b ? gunzipSync(body) : body;
    return listTar(tar).map(({ name, type, size, mode, mtime, content }) =>
      [name, type, size, mode.toString(8), mtime, sha256(content).slice(0, 19)].join(' '),
    );
  } catch {
    return ['(no archive)'];
  }
}

function byText(one: readonly string[], other: readonly string[]): number {
  const [a, b] = [one.join('\n'), other.join('\n')];
  return a < b ? -1 : a > b ? 1 : 0;
}
