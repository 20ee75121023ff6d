/**
 * The variable of each setting that errors of lower layers name. These layers know settings; the command line has other names
 * for the same settings, so only the face that shows an error names the variable.
 */
export const VARIABLES = Object.freeze({
  allowedHosts: 'REGISTRY_ALLOWED_HOSTS',
  bufferedBytes: 'MAX_BUFFERED_BYTES',
  cacheDirectory: 'CACHE_DIR',
  foreignLayers: 'REGISTRY_FOREIGN_LAYERS',
  host: 'HTTP_HOST',
  plainHttpHosts: 'REGISTRY_PLAIN_HTTP_HOSTS',
  port: 'HTTP_PORT',
  trustedCertificates: 'NODE_EXTRA_CA_CERTS',
  workspaceDirectory: 'WORKSPACE_DIR',
});
