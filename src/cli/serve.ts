import { type Config, configWarnings, loadConfig, variableWarnings } from '../config/config.ts';
import { headersInFiles } from '../config/telemetry.ts';
import type { PassedSocket } from '../http/listeners/listeners.ts';
import { logMirror } from '../http/observe/mirror-log.ts';
import { signatureLog } from '../http/observe/signature-log.ts';
import { HttpService, type RunningService } from '../http/service.ts';
import { ImageService } from '../pull/image-service.ts';
import type { MirrorReport } from '../registry/mirrors/mirror-health.ts';
import { createLogger, type Logger, type LoggerOptions } from '../telemetry/log.ts';
import type { Telemetry } from '../telemetry/sdk.ts';
import { VERSION } from '../version.ts';
import type { CommandCall } from './command.ts';
import { useListenOptions } from './options/listen.ts';

import { startError } from './start-error.ts';
import { type Notifier, openNotifier } from './systemd/notify.ts';
import { checkPassedSockets, passedSockets } from './systemd/passed-sockets.ts';

/** Signals that stop the service after its running downloads. */
const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** Message of the log event `store_damage`. */
const DAMAGE = 'A prepared file is missing or damaged on the disk; it is removed and fetched again';

/** Signals within this time, in milliseconds, count as one: with Ctrl-C, both the terminal and npm send SIGINT. */
const SAME_SIGNAL_MS = 1_000;

/** The `serve` command. */
export function run({ options, environment, warnings }: CommandCall): Promise<number> {
  return useListenOptions(options, environment, () => serve(environment, warnings));
}

/**
 * Runs the service until the first of {@link STOP_SIGNALS}. A second signal ends the process at once.
 *
 * @param environment `process.env`; if telemetry is on, it gets this product's defaults for the variables of OpenTelemetry
 * @param warnings for the log
 * @returns the exit code
 * @throws PassthroughError `INVALID_CONFIGURATION`, also when the service cannot listen on the configured address
 */
export async function serve(
  environment: NodeJS.ProcessEnv,
  warnings: readonly string[] = [],
): Promise<number> {
  // First of all: no program that the service starts may take them for its own.
  const passed = passedSockets(environment, process.pid);
  const config = loadConfig(environment);
  checkPassedSockets(passed, config.listener.tls !== undefined);
  // The reader of the log may end before the service. Downloads go on without their log lines.
  process.stdout.on('error', () => undefined);
  const logOptions: LoggerOptions = {
    level: config.logLevel,
    isTerminal: process.stdout.isTTY === true,
    write: (line) => process.stdout.write(line),
  };
  const telemetry = await startTelemetry(config, environment, createLogger(logOptions));
  try {
    const logger = createLogger({ ...logOptions, isExported: true });
    for (const message of [...warnings, ...variableWarnings(environment)])
      logger.log('warn', 'configuration', { message });
    await runService(config, logger, passed, openNotifier(environment, logger));
  } catch (error) {
    throw startError(error, config);
  } finally {
    await telemetry?.stop();
  }
  return 0;
}

/** Runs the service from its start until its last download after a stop signal. */
async function runService(
  config: Config,
  logger: Logger,
  passed: readonly PassedSocket[],
  manager: Notifier,
): Promise<void> {
  // Handled from here on: a supervisor may send a signal as soon as the port is open.
  const stopSignal = firstSignal();
  const onDamage = (name: string) => logger.log('warn', 'store_damage', { name, message: DAMAGE });
  const onMirror = (report: MirrorReport) => logMirror(report, logger);
  const registry = { ...config.registry, onMirror };
  const images = await ImageService.open({ ...config, registry, onDamage, ...signatureLog(logger) });
  try {
    const service = await HttpService.start(images, config, logger, passed);
    announce(config, service, passed, logger);
    // A manager that takes its time for the one message does not hold up the stop, and gets the other one behind it.
    const ready = manager.notify('READY=1');

    const signal = await stopSignal;
    logger.log('info', 'stopping', { signal });
    const [cutOff] = await Promise.all([service.stop(), ready.then(() => manager.notify('STOPPING=1'))]);
    logger.log(cutOff === 0 ? 'info' : 'warn', 'stopped', { cutOff });
  } finally {
    await images.close();
  }
}

/** Loads and starts the telemetry SDK, but only if there is an exporter: loading the SDK takes longer than the rest. */
async function startTelemetry(
  { exporters }: Config,
  environment: NodeJS.ProcessEnv,
  logger: Logger,
): Promise<Telemetry | undefined> {
  if (Object.values(exporters).every((names) => names.length === 0)) return undefined;
  Object.assign(environment, headersInFiles(environment));
  const sdk = await import('../telemetry/sdk.ts');
  return await sdk.startTelemetry({ exporters, environment, logger });
}

function announce(
  config: Config,
  { port, httpsPort }: RunningService,
  passed: readonly PassedSocket[],
  logger: Logger,
): void {
  for (const message of configWarnings(config)) logger.log('warn', 'configuration', { message });
  logger.log('info', 'listening', {
    host: config.http.host,
    port,
    httpsPort,
    socket: config.listener.socketPath,
    passedSockets: passed.length || undefined,
    registry: config.registry.defaultHost.name,
    workspace: config.cache.directory ?? config.workspaceDirectory,
    version: VERSION,
  });
}

/**
 * Waits for a stop signal. {@link SAME_SIGNAL_MS} later the handlers are removed, so the next signal ends the process.
 */
async function firstSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  for (const name of STOP_SIGNALS) process.on(name, resolve);
  const signal = await promise;
  const removeHandlers = () => {
    for (const name of STOP_SIGNALS) process.removeListener(name, resolve);
  };
  setTimeout(removeHandlers, SAME_SIGNAL_MS).unref();
  return signal;
}
