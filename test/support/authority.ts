/** A private certificate authority that issues what a test asks for. Its files go with the process. */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ownFolder } from './leave-nothing.ts';

/** Milliseconds that one call of `openssl` may take. */
const OPENSSL_TIMEOUT_MS = 30_000;

/** A certificate with its key, both PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate says. */
export interface IssueOptions {
  /** Distinguished name; `/CN=localhost` unless given. */
  readonly subject?: string;
  /** Whom it is for: a server at 127.0.0.1, ::1 and localhost unless given. */
  readonly use?: 'server' | 'client' | 'authority';
  /** Other names of a client: `URI:…`. */
  readonly names?: string;
  /** Negative for an expired one; 2 unless given. */
  readonly days?: number;
}

/** An authority. */
export interface Authority extends Issued {
  issue(options?: IssueOptions): Promise<Issued>;
  /** Makes an authority below this one. */
  below(subject: string): Promise<Authority>;
}

const NEW_KEY = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config openssl.cnf'.split(' ');

const configuration = (names: string | undefined) => `[req]
distinguished_name = name
prompt = no
[name]
CN = test
[authority]
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
${names === undefined ? '' : `subjectAltName = ${names}`}
`;

let serial = 1;

/** Makes an authority. */
export async function makeAuthority(subject = '/CN=authority'): Promise<Authority> {
  const folder = await mkdtemp(join(tmpdir(), 'authority-'));
  ownFolder(folder);
  await writeFile(join(folder, 'openssl.cnf'), configuration(undefined));
  const self = ['req', '-x509', ...NEW_KEY, '-extensions', 'authority', '-days', '2'];
  await openssl(folder, [...self, '-subj', subject, '-keyout', 'ca.key', '-out', 'ca.crt']);
  return authorityIn(folder);
}

async function authorityIn(folder: string): Promise<Authority> {
  const read = async (name: string): Promise<Issued> => ({
    cert: await readFile(join(folder, `${name}.crt`), 'utf8'),
    key: await readFile(join(folder, `${name}.key`), 'utf8'),
  });
  const issue = async (options: IssueOptions = {}): Promise<Issued> => {
    const { subject = '/CN=localhost', use = 'server', names, days = 2 } = options;
    serial += 1;
    const name = `issued-${serial}`;
    await writeFile(join(folder, `${name}.cnf`), configuration(names));
    await openssl(folder, [
      'req',
      '-new',
      ...NEW_KEY,
      '-utf8',
      '-subj',
      subject,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
    ]);
    const authority = [
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-set_serial',
      String(serial),
      '-days',
      String(days),
    ];
    const extensions = ['-extfile', `${name}.cnf`, '-extensions', use];
    await openssl(folder, [
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...authority,
      ...extensions,
      '-out',
      `${name}.crt`,
    ]);
    return await read(name);
  };
  return {
    ...(await read('ca')),
    issue,
    below: async (subject) => {
      const { cert, key } = await issue({ subject, use: 'authority' });
      const below = await mkdtemp(join(tmpdir(), 'authority-'));
      ownFolder(below);
      await writeFile(join(below, 'openssl.cnf'), configuration(undefined));
      await writeFile(join(below, 'ca.crt'), cert);
      await writeFile(join(below, 'ca.key'), key);
      return await authorityIn(below);
    },
  };
}

async function openssl(folder: string, args: readonly string[]): Promise<void> {
  await promisify(execFile)('openssl', args, { cwd: folder, timeout: OPENSSL_TIMEOUT_MS });
}
