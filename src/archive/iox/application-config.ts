import { PassthroughError } from '../../errors.ts';
import { fieldsOf, type ObjectShape, readJsonObject } from '../../image/json.ts';

/**
 * How the application in an image is started, and what its author says about it.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties
 */
export interface ApplicationConfig {
  /** Entrypoint and command together. */
  readonly command: readonly string[];
  /** By name, in the order of the config. */
  readonly environment: ReadonlyMap<string, string>;
  readonly workingDirectory: string | undefined;
  readonly user: string | undefined;
  /** In rising order. */
  readonly tcpPorts: readonly number[];
  readonly udpPorts: readonly number[];
  readonly labels: ReadonlyMap<string, string>;
}

const SHAPE: ObjectShape = { fields: { config: 'source' } };

/**
 * Reads how an application is started. Values of another type than expected count as absent, as engines take them.
 *
 * @param bytes the config blob
 * @throws PassthroughError `UNSUPPORTED_IMAGE` when the document is malformed, and when its settings have too many values
 */
export function parseApplicationConfig(bytes: Uint8Array): ApplicationConfig {
  const { config: source } = readJsonObject(
    bytes,
    SHAPE,
    (why, cause) => new PassthroughError('UNSUPPORTED_IMAGE', `Cannot use image config: ${why}`, { cause }),
  );
  const config = fieldsOf(typeof source === 'string' ? JSON.parse(source) : undefined);
  return {
    command: [...textsOf(config['Entrypoint']), ...textsOf(config['Cmd'])],
    environment: new Map(textsOf(config['Env']).flatMap(variableOf)),
    workingDirectory: textOf(config['WorkingDir']),
    user: textOf(config['User']),
    ...portsOf(Object.keys(fieldsOf(config['ExposedPorts']))),
    labels: new Map(
      Object.entries(fieldsOf(config['Labels'])).flatMap(([name, value]) =>
        typeof value === 'string' ? [[name, value] as const] : [],
      ),
    ),
  };
}

function textsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function variableOf(text: string): readonly (readonly [string, string])[] {
  const at = text.indexOf('=');
  return at <= 0 ? [] : [[text.slice(0, at), text.slice(at + 1)]];
}

/** `8080/tcp`, `53/udp`, `8080`: https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties */
function portsOf(names: readonly string[]) {
  const ports = (protocol: string) => {
    const numbers = names.flatMap((name) => {
      const [port = '', written = 'tcp'] = name.split('/', 2);
      const number = /^\d{1,5}$/.test(port) ? Number(port) : 0;
      return written.toLowerCase() === protocol && number >= 1 && number <= 65_535 ? [number] : [];
    });
    return [...new Set(numbers)].toSorted((a, b) => a - b);
  };
  return { tcpPorts: ports('tcp'), udpPorts: ports('udp') };
}
