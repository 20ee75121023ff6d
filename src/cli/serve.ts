import { type Config, configWarnings, loadConfig } from '../config/config.ts';
import { startService } from '../http/service.ts';
import { openArchiveTools } from '../pull/image-service.ts';
import { createLogger, type Logger, type LoggerOptions } from '../telemetry/log.ts';
import type { Telemetry } from '../telemetry/sdk.ts';
import { VERSION } from '../version.ts';

/** Signals that ask for an orderly end. */
const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** What becomes of a prepared file that the disk has changed. */
const DAMAGE = 'A prepared file is missing or damaged on the disk; it is removed and fetched again';

/** Signals that come within this time, in milliseconds, are one. */
const SAME_SIGNAL_MS = 1_000;

/**
 * The `serve` command: runs the service until a signal asks it to stop. A second signal ends it at once.
 *
 * @param environment `process.env`; where telemetry is on, its variables get this product's defaults
 * @returns the exit code
 * @throws PassthroughError `INVALID_CONFIGURATION`; the system's error when the address cannot be listened on
 */
export async function serve(environment: NodeJS.ProcessEnv): Promise<number> {
  const config = loadConfig(environment);
  // Whoever reads the log may end before the service does; the downloads matter more than their lines.
  process.stdout.on('error', () => undefined);
  const logOptions: LoggerOptions = {
    level: config.logLevel,
    isTerminal: process.stdout.isTTY === true,
    write: (line) => process.stdout.write(line),
  };
  const telemetry = await startTelemetry(config, environment, createLogger(logOptions));
  try {
    await runService(config, createLogger({ ...logOptions, isExported: true }));
  } finally {
    await telemetry?.stop();
  }
  return 0;
}

/** Runs the service from its start to its orderly end. */
async function runService(config: Config, logger: Logger): Promise<void> {
  // Listened to from here on: who sees the port open, or the line that says so, may send one at once.
  const stopSignal = firstSignal();
  const onDamage = (name: string) => logger.log('warn', 'store_damage', { name, message: DAMAGE });
  const tools = await openArchiveTools(config, { onDamage });
  try {
    const service = await startService(tools, logger);
    announce(config, service.port, logger);

    const signal = await stopSignal;
    logger.log('info', 'stopping', { signal });
    const cutOff = await service.stop();
    logger.log(cutOff === 0 ? 'info' : 'warn', 'stopped', { cutOff });
  } finally {
    await tools.close();
  }
}

/** Loads and starts the telemetry SDK, where something is to be exported: without it nothing of it is loaded. */
async function startTelemetry(
  { exporters }: Config,
  environment: NodeJS.ProcessEnv,
  logger: Logger,
): Promise<Telemetry | undefined> {
  if (Object.values(exporters).every((names) => names.length === 0)) return undefined;
  const sdk = await import('../telemetry/sdk.ts');
  return await sdk.startTelemetry({ exporters, environment, logger });
}

function announce(config: Config, port: number, logger: Logger): void {
  for (const message of configWarnings(config)) logger.log('warn', 'configuration', { message });
  logger.log('info', 'listening', {
    host: config.http.host,
    port,
    registry: config.registry.target.name,
    workspace: config.cache.directory ?? config.workspaceDirectory,
    version: VERSION,
  });
}

/**
 * Waits for a stop signal and then leaves the next one to the system, which ends the process. Not at once: a Ctrl-C under
 * npm arrives twice, from the terminal and from npm.
 */
async function firstSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  for (const name of STOP_SIGNALS) process.on(name, resolve);
  const signal = await promise;
  const letGo = () => {
    for (const name of STOP_SIGNALS) process.removeListener(name, resolve);
  };
  setTimeout(letGo, SAME_SIGNAL_MS).unref();
  return signal;
}
