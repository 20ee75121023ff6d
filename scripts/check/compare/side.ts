/** One side of a comparison: the service of one checkout, from its start to its end, and everything that it gives. */

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type BuiltService, startBuiltService } from '../../../test/support/built-service.ts';
import { disownFolder, ownFolder } from '../../../test/support/leave-nothing.ts';
import type { LogEvent } from '../../../test/support/memory-log.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../../../test/support/otlp-receiver.ts';
import type { Answer } from './answer.ts';
import type { UpstreamRequest, World } from './world.ts';

/** What `npm start` tells Node. */
const NODE_ARGS = ['--max-semi-space-size=4'];

/** Milliseconds that a command may take which does not serve. */
const COMMAND_LIMIT_MS = 20_000;

/** Attempts to start a service. */
const START_ATTEMPTS = 3;

/** Exports are frequent and their queues long, so that nothing is dropped and a stop has little left to send. */
const TELEMETRY = {
  OTEL_BSP_SCHEDULE_DELAY: '250',
  OTEL_BSP_MAX_QUEUE_SIZE: '100000',
  OTEL_BLRP_SCHEDULE_DELAY: '250',
  OTEL_BLRP_MAX_QUEUE_SIZE: '100000',
  // At the end alone: what metrics say in between depends on the moment.
  OTEL_METRIC_EXPORT_INTERVAL: '3600000',
};

/** What came of one thing that was done. */
export interface Observation {
  /** What was done. */
  readonly label: string;
  answer?: Answer;
  /** Everything that came, where it is not taken apart. */
  text?: string;
  upstream: UpstreamRequest[];
}

/** Everything that one side has given. */
export interface Visited {
  readonly observations: readonly Observation[];
  readonly logs: readonly LogEvent[];
  /** What was written that is no log line, standard error included. */
  readonly strayOutput: string;
  readonly receiver: OtlpReceiver;
  /** Ports that the services have listened on. */
  readonly ports: readonly number[];
  /** Folders whose names differ from run to run. */
  readonly folders: readonly string[];
  /** Requests that were made to wait for something, and how often is chance. */
  readonly hiddenIds: ReadonlySet<string>;
}

/** Variables of a service. `folder` is its own, and outlives a restart. */
export type EnvironmentOf = (world: World, folder: string) => Readonly<Record<string, string>>;

/** What a {@link Side} is made from. */
export interface SideOptions {
  readonly world: World;
  /** Folder of the project. */
  readonly checkout: string;
  readonly env: EnvironmentOf;
}

/** A folder and a receiver of telemetry for a side, which outlive a restart of its service. */
export interface Ground {
  readonly folder: string;
  readonly receiver: OtlpReceiver;
}

/** Make the ground of a side. */
export async function makeGround(): Promise<Ground> {
  const folder = await mkdtemp(join(tmpdir(), 'compare-'));
  ownFolder(folder);
  return { folder, receiver: await startOtlpReceiver() };
}

/** Starts and ends the service of one checkout. Disposing of it ends the service and removes its folder. */
export class Side implements AsyncDisposable, Visited {
  readonly world: World;
  readonly receiver: OtlpReceiver;
  /** A folder of this side alone. */
  readonly folder: string;
  readonly observations: Observation[] = [];
  readonly logs: LogEvent[] = [];
  readonly ports: number[] = [];
  readonly folders: string[] = [];
  readonly hiddenIds = new Set<string>();
  strayOutput = '';
  /** What is special about everything that is done now, for labels. */
  about = '';
  readonly #main: string;
  readonly #env: EnvironmentOf;
  #service: BuiltService | undefined;

  constructor({ world, checkout, env }: SideOptions, { folder, receiver }: Ground) {
    this.world = world;
    this.receiver = receiver;
    this.folder = folder;
    this.#main = join(checkout, 'src', 'main.ts');
    this.#env = env;
    this.folders.push(folder);
  }

  /** The running service. */
  get service(): BuiltService {
    if (this.#service === undefined) throw new Error('Cannot use the service: it does not run');
    return this.#service;
  }

  /** Whether it runs. */
  get isRunning(): boolean {
    return this.#service !== undefined;
  }

  /** Starts the service. */
  async start(): Promise<void> {
    const env = {
      REGISTRY_URL: this.world.registry.url,
      LOG_LEVEL: 'trace',
      SHUTDOWN_TIMEOUT: '5',
      OTEL_EXPORTER_OTLP_ENDPOINT: this.receiver.endpoint,
      ...TELEMETRY,
      ...this.#env(this.world, this.folder),
    };
    const service = await this.#startPatiently(env);
    this.#service = service;
    this.ports.push(service.port);
    this.folders.push(dirname(service.workspace));
  }

  /** Starts it once more where it took too long: a start is bound by the processor, which others may hold. */
  async #startPatiently(env: Readonly<Record<string, string>>): Promise<BuiltService> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await startBuiltService(env, { main: this.#main, nodeArgs: NODE_ARGS });
      } catch (error) {
        const isLate = error instanceof Error && error.message.endsWith('ms are over');
        if (!isLate || attempt === START_ATTEMPTS) throw error;
      }
    }
  }

  /** Stops the service in good order, and notes how it ended. */
  async stop(): Promise<void> {
    const { service } = this;
    const { code, signal } = await service.stop();
    this.observe('stop').text = `code ${code}, signal ${signal}`;
    await this.#close(service);
  }

  /** Ends the service by SIGKILL, once all that it was asked has been exported. */
  async kill(): Promise<void> {
    const { service } = this;
    const events = service.logs().filter(({ event }) => event === 'request');
    await this.receiver.waitFor('all that was logged', ({ spans, logs }) => {
      const traces = new Set(spans.filter(({ kind }) => kind === 'server').map(({ traceId }) => traceId));
      const ids = new Set(logs.map(({ attributes }) => attributes['id']));
      const isExported = ({ id, trace_id }: LogEvent): boolean =>
        ids.has(String(id)) && (trace_id === undefined || traces.has(String(trace_id)));
      return events.every(isExported) || undefined;
    });
    await service.kill();
    await this.#close(service);
  }

  async #close(service: BuiltService): Promise<void> {
    const events = service.logs();
    this.logs.push(...events.filter((event) => !('text' in event && Object.keys(event).length === 1)));
    this.strayOutput += service
      .output()
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('{'))
      .join('\n');
    this.#service = undefined;
    await service[Symbol.asyncDispose]();
  }

  /** Begins to note something that is done. */
  observe(label: string): Observation {
    const about = this.about === '' ? '' : `, where ${this.about}`;
    const observation: Observation = { label: `${label}${about}`, upstream: [] };
    this.observations.push(observation);
    return observation;
  }

  /** Runs the program with arguments, and notes what it writes and how it ends. */
  async command(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<void> {
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const observation = this.observe([...variables, ...args].join(' ') || '(no arguments)');
    const { promise, resolve } = Promise.withResolvers<string>();
    const options = {
      cwd: this.folder,
      env: { PATH: process.env['PATH'] ?? '', ...env },
      timeout: COMMAND_LIMIT_MS,
      killSignal: 'SIGKILL',
    } as const;
    execFile(process.execPath, [...NODE_ARGS, this.#main, ...args], options, (error, stdout, stderr) => {
      resolve(`code ${error === null ? 0 : (error.code ?? error.signal)}\n${stdout}--- stderr\n${stderr}`);
    });
    observation.text = await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service?.[Symbol.asyncDispose]();
    await this.receiver.close();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
    disownFolder(this.folder);
  }
}
