/** The files in the folder of a registry: see `certificate-folders.ts` for their names. */

import { X509Certificate } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PassthroughError } from '../../errors.ts';
import { quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { checkIdentity, type HostCertificates, readAuthorities } from './tls.ts';

/** A file that was modified less than this before a look is read again at the next one; see `WatchedFiles`. In milliseconds. */
const SETTLED_MS = 2000;

/** Most bytes of one file: a bundle of all public authorities has a quarter of this. */
const MAX_FILE_BYTES = 1024 * 1024;

/** The files of a folder, and a text that differs when one of them has changed. */
export interface FolderState {
  readonly names: readonly string[];
  readonly version: string | undefined;
}

/** Reads what a folder holds. @throws the system's error for the folder, FileFault for a file */
export async function filesOf(folder: string): Promise<FolderState> {
  const names = await namesIn(folder);
  const states = await Promise.all(
    names.map(async (name) => {
      const found = await stat(join(folder, name)).catch((error: unknown) => {
        throw new FileFault(name, error);
      });
      const { dev, ino, size, mtimeMs, ctimeMs } = found;
      return { text: [name, dev, ino, size, mtimeMs, ctimeMs].join(), changedAt: Math.max(mtimeMs, ctimeMs) };
    }),
  );
  const isSettled = states.every(({ changedAt }) => Date.now() - changedAt > SETTLED_MS);
  return { names, version: isSettled ? states.map(({ text }) => text).join(' ') : undefined };
}

async function namesIn(folder: string): Promise<readonly string[]> {
  const all = await readdir(folder);
  return all.filter((name) => /\.(?:crt|cert|key)$/.test(name)).toSorted();
}

/** A file of a folder that cannot be used. */
export class FileFault extends Error {
  readonly file: string;

  constructor(file: string, cause: unknown) {
    super('a file cannot be used', { cause });
    this.file = file;
  }
}

/** Reads the certificates of a folder. @throws FileFault */
export async function readFolder(folder: string, { names }: FolderState): Promise<HostCertificates> {
  const read = async (name: string) => {
    const text = await readText(join(folder, name)).catch((error: unknown) => {
      throw new FileFault(name, error);
    });
    return { name, text };
  };
  const files = await Promise.all(names.map(read));
  const withEnd = (end: string) => files.filter(({ name }) => name.endsWith(end));
  const within = <T>(name: string, use: () => T): T => {
    try {
      return use();
    } catch (error) {
      throw new FileFault(name, error);
    }
  };
  const authorities = withEnd('.crt').flatMap(({ name, text }) => within(name, () => readAuthorities(text)));
  const keys = withEnd('.key');
  const identities = withEnd('.cert').map(({ name, text: cert }) => {
    const keyName = name.replace(/\.cert$/, '.key');
    const key = keys.find((file) => file.name === keyName)?.text;
    if (key === undefined) throw new FileFault(name, `its key ${quoted(keyName)} is missing`);
    within(name, () => checkIdentity({ cert, key }));
    return { cert, key };
  });
  const lonely = keys.find(({ name }) => !names.includes(name.replace(/\.key$/, '.cert')));
  if (lonely !== undefined) {
    const cert = lonely.name.replace(/\.key$/, '.cert');
    throw new FileFault(lonely.name, `its certificate ${quoted(cert)} is missing`);
  }
  return { authorities, identities };
}

async function readText(path: string): Promise<string> {
  const found = await stat(path);
  if (!found.isFile()) throw new Error('it is no regular file');
  if (found.size > MAX_FILE_BYTES) throw new Error(`it has more than ${MAX_FILE_BYTES} bytes`);
  return await readFile(path, 'utf8');
}

/** Why a file or a folder cannot be used. */
export function reasonOf(error: unknown): string {
  if (typeof error === 'string') return error;
  if (error instanceof PassthroughError) return error.details.reason ?? error.message;
  const code = systemErrorCode(error);
  if (code === 'ENOENT') return 'it does not exist';
  if (code === 'ENOTDIR') return 'it is no folder';
  if (code === 'EACCES') return 'this user may not read it';
  if (code !== undefined) return `it cannot be read (${code})`;
  return error instanceof Error ? error.message : 'it cannot be read';
}

/** A file of certificates, as operators look at it. */
export interface CertificateFile {
  readonly file: string;
  /** When the first of its certificates expires; `undefined` if it cannot be read. */
  readonly validTo: string | undefined;
}

/** The folder of a host, without the content of its files. */
export interface CertificateFolder {
  readonly folder: string;
  readonly authorities: readonly CertificateFile[];
  /** Certificates of this client. */
  readonly identities: readonly CertificateFile[];
}

/** Describes a folder as it is now. Files that cannot be used are listed, too. @throws the system's error */
export async function describeFolder(folder: string): Promise<CertificateFolder> {
  const names = await namesIn(folder);
  const describe = async (file: string): Promise<CertificateFile> => {
    try {
      const blocks = readAuthorities(await readText(join(folder, file)));
      const ends = blocks.map((block) => Date.parse(new X509Certificate(block).validTo));
      return { file, validTo: new Date(Math.min(...ends)).toISOString() };
    } catch {
      return { file, validTo: undefined };
    }
  };
  const withEnd = (end: string) => Promise.all(names.filter((name) => name.endsWith(end)).map(describe));
  return { folder, authorities: await withEnd('.crt'), identities: await withEnd('.cert') };
}
