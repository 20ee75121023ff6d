/**
 * Certificates by registry, in the folders that Docker and podman share:
 *
 *     {folder}/{host[:port]}/*.crt           authorities
 *     {folder}/{host[:port]}/{name}.cert     a client certificate and its chain
 *     {folder}/{host[:port]}/{name}.key      its private key
 *
 * @see https://docs.docker.com/engine/security/certificates/
 * @see https://github.com/containers/image/blob/main/docs/containers-certs.d.5.md
 */

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PassthroughError } from '../../errors.ts';
import { BoundedMap } from '../../util/bounded-map.ts';
import { quoted } from '../../util/printable.ts';
import { systemErrorCode } from '../../util/system-error.ts';
import { DOCKER_HUB, parseHost, registryHost } from '../registry-host.ts';
import {
  type CertificateFolder,
  describeFolder,
  FileFault,
  filesOf,
  readFolder,
  reasonOf,
} from './certificate-files.ts';
import type { HostCertificateSource, HostCertificates } from './tls.ts';

/** Least time between two looks at the files of a host, in milliseconds. */
const MIN_INTERVAL_MS = 1000;

/** Most hosts whose state is kept. Clients may name any. */
const MAX_HOSTS = 1000;

/** Longest path in a message, in characters. */
const MAX_PATH_LENGTH = 1000;

/** A change of the files of a host that are in use. */
export interface CertificateReport {
  readonly result: 'reloaded' | 'rejected';
  /** Folder of the host. */
  readonly folder: string;
  readonly message?: string;
  readonly wasRejected: boolean;
  /** Whether a rejected folder has nothing that stays in use. */
  readonly isFirst?: boolean;
}

/** Settings of {@link CertificateFolders}. */
export interface CertificateFoldersOptions {
  /** The variable or option that names the folders, for messages. */
  readonly name: string;
  /** Whether the files lie in the folders themselves, and are for all hosts. */
  readonly isForAll?: boolean;
}

/** What is known of a host. */
interface Known {
  readonly url: URL;
  readonly folder: string | undefined;
  readonly lookedAt: number;
  /** State of the files; `undefined` has the next look read them again. */
  readonly version: string | undefined;
  readonly certificates: HostCertificates | undefined;
  readonly fault: PassthroughError | undefined;
}

/** Folders that have one folder for each host. The first that has one for a host decides. */
export class CertificateFolders implements HostCertificateSource {
  readonly #folders: readonly string[];
  readonly #options: CertificateFoldersOptions;
  readonly #known = new BoundedMap<string, Known>({ maxCost: MAX_HOSTS });
  readonly #looks = new Map<string, Promise<Known>>();
  /** Receives changes; must not throw. */
  report: (report: CertificateReport) => void = () => undefined;

  constructor(folders: readonly string[], options: CertificateFoldersOptions) {
    this.#folders = folders;
    this.#options = options;
  }

  /**
   * The certificates for a host, as the files are now. Files that cannot be used leave what they were before in use.
   *
   * @returns `undefined` if no folder has one for the host
   * @throws PassthroughError `INVALID_CONFIGURATION` for files that could never be used
   */
  async forHost(url: URL): Promise<HostCertificates | undefined> {
    const known = this.#known.get(url.host);
    const isFresh = known !== undefined && performance.now() - known.lookedAt < MIN_INTERVAL_MS;
    const { certificates, fault } = isFresh ? known : await this.#look(url);
    if (fault !== undefined && certificates === undefined) throw fault;
    return certificates;
  }

  /**
   * Describes what applies to a host, for operators.
   *
   * @returns `undefined` if no folder has one for the host; `fault` if its files cannot be used as they are now
   */
  async describe(
    url: URL,
  ): Promise<(CertificateFolder & { readonly fault: string | undefined }) | undefined> {
    const { folder, fault } = await this.#look(url);
    if (folder === undefined) return undefined;
    const empty = { folder, authorities: [], identities: [] };
    return { ...(await describeFolder(folder).catch(() => empty)), fault: fault?.message };
  }

  /**
   * Reads the folders of all hosts, so that later files that cannot be used leave these in use. Folders with other names are skipped.
   *
   * @throws PassthroughError `INVALID_CONFIGURATION` for the first file that cannot be used
   */
  async check(): Promise<void> {
    const { isForAll = false } = this.#options;
    for (const folder of this.#folders) {
      const all = isForAll ? ['.'] : await readdir(folder).catch(this.#failure(folder));
      const names = isForAll ? all : all.filter(isHost);
      for (const name of names) {
        const path = join(folder, name);
        const found = await stat(path).catch(this.#failure(path));
        if (!found.isDirectory()) continue;
        await filesOf(path)
          .then((files) => readFolder(path, files))
          .catch(this.#failure(path));
        if (!isForAll) await this.#look(new URL(registryHost('https', name).origin));
      }
    }
  }

  /** Throws the error of a file or a folder that cannot be used. */
  #failure(path: string): (error: unknown) => never {
    return (error) => {
      throw this.#unusable(path, error);
    };
  }

  #unusable(path: string, error: unknown): PassthroughError {
    const { name } = this.#options;
    const [at, cause] = error instanceof FileFault ? [join(path, error.file), error.cause] : [path, error];
    return new PassthroughError(
      'INVALID_CONFIGURATION',
      `Cannot use ${name}, ${quoted(at, MAX_PATH_LENGTH)}: ${reasonOf(cause)}`,
    );
  }

  /** Looks at the files of all hosts that were asked for. Does not throw. */
  async refresh(): Promise<void> {
    for (const [, { url, certificates, fault }] of [...this.#known.entries()])
      if (certificates !== undefined || fault !== undefined) await this.#look(url).catch(() => undefined);
  }

  async #look(url: URL): Promise<Known> {
    const { host } = url;
    const running = this.#looks.get(host) ?? this.#read(url).finally(() => this.#looks.delete(host));
    this.#looks.set(host, running);
    return await running;
  }

  async #read(url: URL): Promise<Known> {
    const before = this.#known.get(url.host);
    const known = await this.#compare(url, before);
    this.#known.set(url.host, known);
    return known;
  }

  async #compare(url: URL, before: Known | undefined): Promise<Known> {
    const lookedAt = performance.now();
    const folder = await this.#folderOf(url, before);
    const wasRejected = before?.fault !== undefined;
    if (folder === undefined) {
      // Without its folder, a host has no certificates of its own any more.
      if (before?.folder !== undefined)
        this.report({ result: 'reloaded', folder: before.folder, wasRejected });
      return { url, folder, lookedAt, version: undefined, certificates: undefined, fault: undefined };
    }
    let version: string | undefined;
    try {
      const files = await filesOf(folder);
      version = files.version && `${folder} ${files.version}`;
      if (before !== undefined && version !== undefined && version === before.version)
        return { ...before, lookedAt };
      const read = await readFolder(folder, files);
      const isSame = JSON.stringify(read) === JSON.stringify(before?.certificates);
      if (before !== undefined && (!isSame || wasRejected)) {
        this.report({ result: 'reloaded', folder, wasRejected });
      }
      const certificates = isSame ? before?.certificates : read;
      return { url, folder, lookedAt, version, certificates, fault: undefined };
    } catch (error) {
      const fault = this.#unusable(folder, error);
      const { message } = fault;
      const isFirst = before?.certificates === undefined;
      if (before?.fault?.message !== message)
        this.report({ result: 'rejected', folder, message, wasRejected, ...(isFirst && { isFirst }) });
      return { url, folder, lookedAt, version, certificates: before?.certificates, fault };
    }
  }

  /** A folder that was in use is not taken for removed when it cannot be looked at. Others may belong to another user. */
  async #folderOf(url: URL, before: Known | undefined): Promise<string | undefined> {
    for (const folder of this.#folders) {
      for (const name of this.#options.isForAll ? ['.'] : namesOf(url)) {
        const path = join(folder, name);
        const isUsable = await stat(path).then(
          (found) => found.isDirectory(),
          (error) => path === before?.folder && !isAbsence(error),
        );
        if (isUsable) return path;
      }
    }
    return undefined;
  }
}

/** Names of a host's folder: with its port first, which may be left out if it is the usual one. */
function namesOf({ hostname, port, origin }: URL): readonly string[] {
  // The target of a redirect may be any URL, and this host would be the parent of the folder.
  if (/^\.*$/.test(hostname)) return [];
  if (port !== '') return [`${hostname}:${port}`];
  const hosts = origin === DOCKER_HUB.origin ? [hostname, DOCKER_HUB.name] : [hostname];
  return hosts.flatMap((host) => [`${host}:443`, host]);
}

function isAbsence(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '');
}

/** Other folders are of Kubernetes (`..data`) or of the file system (`lost+found`). */
function isHost(name: string): boolean {
  try {
    parseHost(name);
    return true;
  } catch {
    return false;
  }
}
