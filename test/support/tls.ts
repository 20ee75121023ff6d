/**
 * A private certificate authority that lives as long as the process.
 */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Everything as PEM. */
export interface Certificates {
  /** The authority, for the side that is to trust the server or the client. */
  readonly ca: string;
  /** Server certificate for `127.0.0.1`, `::1` and `localhost`, and its key. */
  readonly cert: string;
  readonly key: string;
  /** Client certificate of the same authority, and its key. */
  readonly clientCert: string;
  readonly clientKey: string;
}

/** Seconds that one call of `openssl` may take: many times what an elliptic-curve key costs on a busy machine. */
const OPENSSL_TIMEOUT_SECONDS = 30;

/** The whole configuration, so that the machine's own `openssl.cnf` has no say. */
const CONFIGURATION = `[req]
distinguished_name = name
prompt = no
[name]
CN = test
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
[client]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
`;

let cached: Promise<Certificates> | undefined;

/**
 * Make an authority, a server certificate and a client certificate with the `openssl` binary, once a process.
 *
 * @returns the same certificates at every call; no file is left behind
 * @throws Error when `openssl` is missing or fails
 */
export function makeCertificates(): Promise<Certificates> {
  cached ??= generate();
  return cached;
}

/**
 * Makes certificates of another authority, at each call.
 *
 * @param serverDays how long the server certificate is valid from now; -1 for one that has expired
 */
export function makeOtherCertificates(serverDays = 2): Promise<Certificates> {
  return generate(serverDays);
}

async function generate(serverDays = 2): Promise<Certificates> {
  const directory = await mkdtemp(join(tmpdir(), 'certificates-'));
  const openssl = async (command: string): Promise<void> => {
    const options = { cwd: directory, timeout: OPENSSL_TIMEOUT_SECONDS * 1000 };
    await promisify(execFile)('openssl', command.split(' '), options);
  };
  const newKey = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config openssl.cnf';
  const issue = async (name: string, serial: string, days = 2): Promise<void> => {
    await openssl(`req -new ${newKey} -subj /CN=test-${name} -keyout ${name}.key -out ${name}.csr`);
    const authority = `-CA ca.crt -CAkey ca.key -set_serial ${serial} -days ${days}`;
    const extensions = `-extfile openssl.cnf -extensions ${name}`;
    await openssl(`x509 -req -in ${name}.csr ${authority} ${extensions} -out ${name}.crt`);
  };
  try {
    await writeFile(join(directory, 'openssl.cnf'), CONFIGURATION);
    const authority = '-subj /CN=test-authority -extensions ca -days 2 -keyout ca.key -out ca.crt';
    await openssl(`req -x509 ${newKey} ${authority}`);
    await issue('server', '2', serverDays);
    await issue('client', '3');
    const read = (file: string): Promise<string> => readFile(join(directory, file), 'utf8');
    const [ca, cert, key, clientCert, clientKey] = await Promise.all([
      read('ca.crt'),
      read('server.crt'),
      read('server.key'),
      read('client.crt'),
      read('client.key'),
    ]);
    return { ca, cert, key, clientCert, clientKey };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
