import { nearest } from '../util/text/nearest.ts';

/**
 * The variable of each setting that errors of lower layers name. These layers know settings; the command line has other names
 * for the same settings, so only the face that shows an error names the variable.
 */
export const VARIABLES = Object.freeze({
  allowedHosts: 'REGISTRY_ALLOWED_HOSTS',
  allowedNetworks: 'CLIENT_ALLOWED_NETWORKS',
  bufferedBytes: 'MAX_BUFFERED_BYTES',
  cacheDirectory: 'CACHE_DIR',
  compressedBytes: 'MAX_COMPRESSED_BYTES',
  configBytes: 'MAX_CONFIG_BYTES',
  foreignLayers: 'REGISTRY_FOREIGN_LAYERS',
  host: 'HTTP_HOST',
  httpsPort: 'HTTPS_PORT',
  manifestBytes: 'MAX_MANIFEST_BYTES',
  authFile: 'REGISTRY_AUTH_FILE',
  bearerToken: 'REGISTRY_BEARER_TOKEN',
  certificates: 'REGISTRY_CERTS_DIR',
  credentialsHosts: 'REGISTRY_CREDENTIALS_HOSTS',
  insecureHosts: 'REGISTRY_INSECURE_HOSTS',
  plainHttpHosts: 'REGISTRY_PLAIN_HTTP_HOSTS',
  port: 'HTTP_PORT',
  signatureKeys: 'SIGNATURE_KEYS',
  socket: 'HTTP_SOCKET',
  tlsCertificate: 'TLS_CERT_FILE',
  tlsClientAuthorities: 'TLS_CLIENT_CA_FILE',
  tlsKey: 'TLS_KEY_FILE',
  trustedCertificates: 'NODE_EXTRA_CA_CERTS',
  trustedRealms: 'REGISTRY_TRUSTED_REALMS',
  trustedProxies: 'TRUSTED_PROXIES',
  uncompressedBytes: 'MAX_IMAGE_BYTES',
  username: 'REGISTRY_USERNAME',
  workspaceDirectory: 'WORKSPACE_DIR',
});

/** Variables of which no other file reads the value: those of Node, and one that older set-ups have and that means nothing. */
export const OTHER_VARIABLES: readonly string[] = [VARIABLES.trustedCertificates, 'APP_MODE'];

/**
 * Finds variables that are set and have no effect, because another one decides or is missing.
 *
 * @param environment `process.env`
 * @returns one line for the log for each
 */
export function uselessVariables(
  environment: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  /** The name of the variable that has a secret, itself or by its file. */
  const source = (name: string) => [name, `${name}_FILE`].find((one) => (environment[one] ?? '') !== '');
  const [token, alias] = [source('REGISTRY_BEARER_TOKEN'), source('REGISTRY_TOKEN')];
  const username = source('REGISTRY_USERNAME');
  const hasPassword =
    environment['REGISTRY_PASSWORD'] !== undefined || source('REGISTRY_PASSWORD') !== undefined;
  const warnings: readonly [isGiven: boolean, message: string][] = [
    [token !== undefined && alias !== undefined, `${alias} has no effect: ${token} is set, too`],
    [
      username !== undefined && !hasPassword,
      `${username} is set without REGISTRY_PASSWORD: the password is empty`,
    ],
    [
      isSet(environment[VARIABLES.httpsPort]) && !isSet(environment[VARIABLES.tlsCertificate]),
      `${VARIABLES.httpsPort} has no effect: ${VARIABLES.tlsCertificate} is not set`,
    ],
    [
      isSet(environment['HTTP_SOCKET_MODE']) && !isSet(environment[VARIABLES.socket]),
      `HTTP_SOCKET_MODE has no effect: ${VARIABLES.socket} is not set`,
    ],
  ];
  return warnings.filter(([isGiven]) => isGiven).map(([, message]) => message);
}

/** Beginnings of names that are ours as a rule. */
const FAMILIES = /^(?:REGISTRY|CACHE|MAX|HTTPS?|SIGNATURE)_/;

/** Standard variables of OpenTelemetry, of proxies, and of OpenSSL, which many images set. */
const STANDARD = /^OTEL_|_PROXY$|^SSL_CERT_(?:FILE|DIR)$/;

/** The addresses that Kubernetes and Docker set for a service called `registry` or `cache`. */
const OF_SERVICES = /_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_\w+)?|ENV_\w+)$/;

/** Most edits for a name that is meant. */
const MAX_EDITS = 2;

/** Longest name that is looked at, in characters. */
const MAX_NAME_LENGTH = 64;

/**
 * Finds variables that mean nothing and whose names resemble those of the service: they are mistyped as a rule.
 *
 * @param known names that are read
 * @returns a sentence for each, without its value
 */
export function unknownVariables(
  environment: Readonly<Record<string, string | undefined>>,
  known: ReadonlySet<string>,
): readonly string[] {
  const names = new Set([...known, ...OTHER_VARIABLES]);
  return Object.entries(environment).flatMap(([name, value]) => {
    const upper = name.toUpperCase();
    const isPlain = /^\w+$/.test(name) && name.length <= MAX_NAME_LENGTH;
    if (!isSet(value) || !isPlain || names.has(name) || STANDARD.test(upper)) return [];
    const meant = nearest(upper, names, () => MAX_EDITS);
    if (meant === undefined && (!FAMILIES.test(upper) || OF_SERVICES.test(upper))) return [];
    return [`${name} is set and has no effect${meant === undefined ? '' : `; did you mean ${meant}?`}`];
  });
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value.trim() !== '';
}
