import { type Config, loadConfig } from '../../config/config.ts';
import type { Environment } from '../../config/environment.ts';

/** Variables that also hold for single commands. Those of the listener, the log and telemetry are the service's. */
const APPLIES =
  /^(?:REGISTRY_(?!AUTH_FILE$)|SIGNATURE_|MAX_|WORKSPACE_DIR$|PREPARE_TIMEOUT$|IOX_|(?:https?|no)_proxy$)/i;

/** What the environment configures for single commands. */
export type CommandSettings = Pick<
  Config,
  'registry' | 'signatures' | 'iox' | 'limits' | 'bufferedBytes' | 'prepareTimeoutMs' | 'workspaceDirectory'
>;

/**
 * Reads the variables that hold for single commands. A variable of the same name that another program means, such as `HTTP_PORT`
 * in Kubernetes, does not stop a pull.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION`
 */
export function loadSettings(environment: Environment): CommandSettings {
  const entries = Object.entries(environment).filter(([name]) => APPLIES.test(name));
  return loadConfig(Object.fromEntries(entries));
}
