/** Takes out of what a service gives what differs from run to run, and nothing else. */

import type { LogEvent } from '../../../test/support/memory-log.ts';
import type { AttributeValue } from '../../../test/support/otlp-receiver.ts';
import type { UpstreamRequest, World } from './world.ts';

const UUID = /\b[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}\b/g;
const TIME = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g;

/** What Node.js puts into messages: a process ID, and the address of a thread. */
const FROM_NODE: readonly (readonly [pattern: RegExp, by: string])[] = [
  [/\(node:\d+\)/g, '(node)'],
  [/\b[\dA-F]{8,16}:error:/g, '(thread):error:'],
];

/** Fields of log lines that are measured, by what stands for them. */
const MEASURED: Readonly<Record<string, string>> = {
  time: '(time)',
  ms: '(ms)',
  prepareMs: '(ms)',
  staleSeconds: '(s)',
  trace_id: '(trace)',
};

/** What a {@link Normaliser} is made from. */
export interface RunFacts {
  readonly world: World;
  readonly ports: readonly number[];
  readonly folders: readonly string[];
}

/** Writes values of one run as those of any run. */
export class Normaliser {
  readonly #ports: ReadonlySet<number>;
  readonly #replaced: readonly (readonly [text: string, by: string])[];

  constructor({ world, ports, folders }: RunFacts) {
    this.#ports = new Set(ports);
    const hosts = { registry: world.registry, other: world.other, proxy: world.proxy };
    this.#replaced = [
      ...ports.map((port) => [`127.0.0.1:${port}`, '(service)'] as const),
      ...Object.entries(hosts).map(([name, { host }]) => [host, `(${name})`] as const),
      ...folders.map((folder) => [folder, '(folder)'] as const),
    ];
  }

  /** A text, with ids counted from 1 in the order in which they occur in it. */
  text(text: string): string {
    const ids = new Map<string, number>();
    const number = (id: string): string => {
      ids.set(id, ids.get(id) ?? ids.size + 1);
      return `(id ${ids.get(id)})`;
    };
    const named = this.#replaced.reduce((all, [from, to]) => all.replaceAll(from, to), text);
    return FROM_NODE.reduce((all, [pattern, by]) => all.replace(pattern, by), named)
      .replace(UUID, number)
      .replace(TIME, '(time)');
  }

  /** Lines of one event of the log. */
  event(event: LogEvent, spanNames: ReadonlyMap<string, string>): string[] {
    const isUneven = event['outcome'] === 'aborted' || event['outcome'] === 'broken';
    return Object.entries(event)
      .map(([name, value]): [string, unknown] => {
        if (name in MEASURED && value !== undefined) return [name, MEASURED[name]];
        if (name === 'span_id') return [name, `(${spanNames.get(String(value)) ?? 'no span'})`];
        if (name === 'bytes' && isUneven) return [name, '(bytes)'];
        if (name === 'port' && this.#ports.has(Number(value))) return [name, '(port)'];
        // Frames of this program name the checkout; what they say besides is the program's own business.
        if (name === 'stack') return [name, String(value).split('\n', 1)[0]];
        return [name, value];
      })
      .map(([name, value]) => `  ${name}: ${this.text(JSON.stringify(value) ?? 'undefined')}`)
      .toSorted();
  }

  /** The value of a header of an answer. */
  header(name: string, value: string): string {
    const key = name.toLowerCase();
    if (key === 'date') return '(date)';
    if (key === 'age' && /^\d+$/.test(value)) return '(s)';
    return this.text(value);
  }

  /** A request that reached one of the servers, on one line. */
  upstream({ server, method, path, headers }: UpstreamRequest): string {
    const shown = Object.entries(headers)
      .map(([name, value]) => `${name}: ${secretless(name, this.text(String(value)))}`)
      .toSorted();
    return `${server}: ${method} ${this.text(path)} | ${shown.join(' | ')}`;
  }

  /** The value of an attribute. */
  attribute(name: string, value: AttributeValue, isPeer: boolean): string {
    if (name === 'passthrough.manifest.stale_ms') return '(ms)';
    if (name === 'network.peer.port' && isPeer) return '(port)';
    if (name === 'server.port' && this.#ports.has(Number(value))) return '(port)';
    return this.text(JSON.stringify(value));
  }
}

/** Tokens differ from run to run. Credentials and tokens of the scenario stay as they are. */
function secretless(name: string, value: string): string {
  if (name === 'traceparent') return value.replace(/^00-[\da-f]{32}-[\da-f]{16}-/, '00-(trace)-(span)-');
  if (name !== 'authorization') return value;
  const basic = /^Basic (\S+)$/.exec(value)?.[1];
  if (basic !== undefined) return `Basic of ${Buffer.from(basic, 'base64')}`;
  return value.replace(/^Bearer [\w-]{32}$/, 'Bearer (token)');
}
