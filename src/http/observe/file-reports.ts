import type { ConfigFiles } from '../../config/credentials.ts';
import type { TlsConfig } from '../../config/tls.ts';
import type { Logger } from '../../telemetry/log.ts';
import { instruments } from '../../telemetry/metrics.ts';

/**
 * Milliseconds between two looks at files that no request needs: an operator who has rotated a secret wants to read soon that it
 * cannot be used.
 */
const INTERVAL_MS = 5000;

/** The files that change while the service runs. */
export interface ReportedFiles {
  readonly files: ConfigFiles | undefined;
  readonly tls?: Partial<TlsConfig> | undefined;
}

/** What happened to a file. */
interface FileEvent {
  readonly variable: string;
  readonly result: 'reloaded' | 'rejected';
  readonly wasRejected: boolean;
  readonly folder?: string;
  readonly message?: string | undefined;
  readonly isFirst?: boolean;
}

/**
 * Reports which files of the configuration were read again, and which could not be used, to the log and to metrics. Looks at them
 * regularly, also while there are no requests.
 *
 * @returns ends the looks
 * @throws PassthroughError `INVALID_CONFIGURATION` for certificates that cannot be used
 */
export async function reportFiles({ files, tls }: ReportedFiles, logger: Logger): Promise<() => void> {
  const report = ({ variable, result, wasRejected, folder, message, isFirst = false }: FileEvent) => {
    const isRejected = result === 'rejected';
    logger.log(isRejected ? 'warn' : 'info', isRejected ? 'file_rejected' : 'file_reloaded', {
      variable,
      folder,
      message:
        message &&
        `${message}. ${isFirst ? 'Requests to its host fail' : 'What was read before stays in use'}`,
    });
    const attributes = { 'passthrough.file': variable };
    instruments().fileReloads.add(1, { ...attributes, 'passthrough.file.result': result });
    if (isRejected !== wasRejected) instruments().rejectedFiles.add(isRejected ? 1 : -1, attributes);
  };
  const folders = tls?.folders;
  if (files !== undefined) {
    files.watched.report = ({ name, ...event }) => report({ variable: name, ...event });
    files.operator.onHelperFailure = (message) => logger.log('warn', 'credential_helper_failed', { message });
  }
  if (folders !== undefined) {
    folders.report = (event) => report({ variable: 'REGISTRY_CERTS_DIR', ...event });
    await folders.check();
  }
  if (files === undefined && folders === undefined) return () => undefined;
  const timer = setInterval(() => {
    void files?.watched.refresh();
    void folders?.refresh();
  }, INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}
