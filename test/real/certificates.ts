/** Keys and certificates for one test run, made with openssl. */
import { join } from 'node:path';
import { run } from './parts.ts';

/** Paths of a private key and its certificate, both PEM. */
export interface KeyPair {
  readonly key: string;
  readonly certificate: string;
}

const NEW_KEY = [
  '-newkey',
  'ec',
  '-pkeyopt',
  'ec_paramgen_curve:prime256v1',
  '-noenc',
  '-days',
  '2',
] as const;

async function issue(directory: string, name: string, args: readonly string[]): Promise<KeyPair> {
  const pair = { key: join(directory, `${name}.key`), certificate: join(directory, `${name}.crt`) };
  const out = ['-keyout', pair.key, '-out', pair.certificate, '-subj', `/CN=${name}`];
  await run('openssl', ['req', '-x509', ...NEW_KEY, ...out, ...args]);
  return pair;
}

/** A private certificate authority. */
export function makeAuthority(directory: string, name = 'private-authority'): Promise<KeyPair> {
  return issue(directory, name, ['-addext', 'keyUsage=critical,keyCertSign,digitalSignature']);
}

/** A server certificate under `authority` for the names and addresses in `subjects` (`DNS:a`, `IP:1.2.3.4`). */
export function makeServerCertificate(
  directory: string,
  authority: KeyPair,
  subjects: readonly string[],
): Promise<KeyPair> {
  const extensions = ['basicConstraints=critical,CA:FALSE', `subjectAltName=${subjects.join(',')}`];
  return issue(directory, 'registry', [
    ...['-CA', authority.certificate, '-CAkey', authority.key],
    ...extensions.flatMap((extension) => ['-addext', extension]),
  ]);
}
