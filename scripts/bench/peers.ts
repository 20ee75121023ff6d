/**
 * The programs that benchmarks compare with or measure with: how each is installed and run.
 */

import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { attempt, end, isInstalled, type Running, run, start, until } from '../../test/real/parts.ts';
import { listen } from '../../test/support/listening.ts';

/** How to install each program, and its arguments to print the version. */
const PROGRAMS = {
  skopeo: { install: 'apt-get install skopeo', version: ['--version'] },
  crane: {
    install:
      'apt-get install crane in Debian sid; elsewhere take its .deb apart with dpkg-deb -x and set BENCH_CRANE to the program',
    version: ['version'],
  },
  nginx: { install: 'apt-get install nginx-light', version: ['-v'] },
  curl: { install: 'apt-get install curl', version: ['--version'] },
  'docker-registry': { install: 'apt-get install docker-registry', version: ['--version'] },
  wrk: { install: 'apt-get install wrk', version: ['-v'] },
  ab: { install: 'apt-get install apache2-utils', version: ['-V'] },
} as const;

/** A program that a benchmark may use. */
export type Program = keyof typeof PROGRAMS;

/** Longest run of one command, in milliseconds: fifty clients of the largest image share two cores. */
const COMMAND_MS = 900_000;

/** Longest end of a server, in milliseconds. */
const STOP_MS = 5_000;

/** Load of the benchmark of small answers. */
const LOAD = { connections: 16, seconds: 5, abRequests: 10_000 } as const;

/** Whether the program is installed. */
export function has(program: Program): boolean {
  const command = commandOf(program);
  if (!command.includes('/')) return isInstalled(command);
  try {
    accessSync(command, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @throws Error with the programs to install */
export function requirePrograms(...programs: readonly Program[]): void {
  const missing = programs.filter((program) => !has(program));
  if (missing.length === 0) return;
  throw new Error(missing.map((program) => `${program} is missing: ${PROGRAMS[program].install}`).join('\n'));
}

/** A line for each program: its version, or how to install it. */
export async function versionLines(): Promise<string[]> {
  const programs = Object.keys(PROGRAMS) as Program[];
  return await Promise.all(
    programs.map(async (program) => {
      if (!has(program)) return `${program}: not installed (${PROGRAMS[program].install})`;
      const { stdout, stderr } = await attempt(commandOf(program), PROGRAMS[program].version);
      const [line = ''] = `${stdout}${stderr}`.trim().split('\n');
      return `${program}: ${line.replace(/^This is /, '').replace(/ <.*$/, '')}`;
    }),
  );
}

function commandOf(program: Program): string {
  const named = process.env['BENCH_CRANE'] ?? '';
  return program === 'crane' && named !== '' ? named : program;
}

/** A server that listens on 127.0.0.1. */
export interface PeerServer extends AsyncDisposable {
  readonly origin: string;
}

/** Requests that a registry has received. */
export interface Asked {
  /** GET, with or without `Range`. */
  readonly blobs: number;
  /** GET and HEAD. */
  readonly manifests: number;
}

/** A registry that counts its requests. */
export interface CountingRegistry extends PeerServer {
  readonly host: string;
  asked(): Asked;
}

/**
 * Starts docker-registry with its storage in `folder` and an access log, from which the requests are counted.
 */
export async function startCountingRegistry(folder: string): Promise<CountingRegistry> {
  const host = `127.0.0.1:${await freePort()}`;
  const config = join(folder, 'registry.yml');
  // JSON is valid YAML.
  const settings = {
    version: '0.1',
    log: { level: 'error' },
    storage: { filesystem: { rootdirectory: join(folder, 'registry') } },
    http: { addr: host, secret: 'loopback' },
  };
  await writeFile(config, JSON.stringify(settings));
  const running = start('docker-registry', ['serve', config], { env: { OTEL_TRACES_EXPORTER: 'none' } });
  const origin = await answering(`http://${host}`, running);
  const count = (pattern: RegExp) => running.stdout().match(pattern)?.length ?? 0;
  return {
    host,
    origin,
    asked: () => ({
      blobs: count(/"GET \/v2\/\S+\/blobs\//g),
      manifests: count(/"(?:GET|HEAD) \/v2\/\S+\/manifests\//g),
    }),
    [Symbol.asyncDispose]: async () => void (await end(running, STOP_MS)),
  };
}

/** Starts nginx for the files in `root`, with sendfile, on loopback. */
export async function startNginx(folder: string, root: string): Promise<PeerServer> {
  const own = mkdtempSync(join(folder, 'nginx-'));
  const host = `127.0.0.1:${await freePort()}`;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = `
    daemon off; pid ${join(own, 'pid')}; error_log stderr warn; worker_processes auto;
    # The workers' default user could not read the folder.
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    events { worker_connections 1024; }
    http {
      sendfile on; tcp_nopush on; access_log off; default_type application/x-tar;
      ${temporary.map((name) => `${name}_temp_path ${join(own, name)};`).join(' ')}
      server { listen ${host}; root ${root}; }
    }`;
  const path = join(own, 'nginx.conf');
  await writeFile(path, config);
  const running = start('nginx', ['-e', 'stderr', '-p', own, '-c', path]);
  const origin = await answering(`http://${host}`, running);
  return { origin, [Symbol.asyncDispose]: async () => void (await end(running, STOP_MS)) };
}

/** Finds a free port: neither server reports the port that it gets for port 0. */
async function freePort(): Promise<number> {
  await using server = await listen(createServer(), 'http');
  return server.port;
}

async function answering(origin: string, running: Running): Promise<string> {
  return await until(`answer of ${origin}`, async () => {
    if (!running.isRunning()) throw new Error(`Cannot start: ${running.stdout()}${running.stderr()}`);
    const response = await fetch(origin).catch(() => undefined);
    await response?.body?.cancel();
    return response && origin;
  });
}

/** One client's download of a file. */
export interface Fetched {
  /** From the start of the client process to its end. */
  readonly seconds: number;
  readonly firstByteMs: number;
  readonly bytes: number;
}

/** Fetches a file with curl into a new file. */
export async function fetchFile(url: string, file: string): Promise<Fetched> {
  rmSync(file, { force: true });
  // Otherwise this turn could wait for the writes of earlier turns.
  await run('sync', [], { timeout: COMMAND_MS });
  const begun = performance.now();
  const said = await run('curl', curlArguments(file, url), { timeout: COMMAND_MS });
  const seconds = (performance.now() - begun) / 1000;
  const [, firstByte, bytes] = said.split(' ').map(Number);
  return { seconds, firstByteMs: (firstByte ?? Number.NaN) * 1000, bytes: bytes ?? Number.NaN };
}

/** The downloads of concurrent clients. */
export interface FetchedByMany {
  /** Until the last client has ended. */
  readonly seconds: number;
  /** Number of failed clients by status. */
  readonly failed: ReadonlyMap<string, number>;
}

/** Fetches one file concurrently with `clients` processes of curl. The files are removed. */
export async function fetchByMany(url: string, clients: number): Promise<FetchedByMany> {
  const begun = performance.now();
  const ended = await Promise.all(
    Array.from({ length: clients }, () =>
      attempt('curl', curlArguments('/dev/null', url), { timeout: COMMAND_MS }),
    ),
  );
  const seconds = (performance.now() - begun) / 1000;
  const failed = ended.filter(({ code }) => code !== 0).map(({ stdout }) => stdout.split(' ')[0] ?? '');
  const byStatus = Map.groupBy(failed, (status) => status);
  return { seconds, failed: new Map(Array.from(byStatus, ([status, all]) => [status, all.length])) };
}

function curlArguments(file: string, url: string): string[] {
  const facts = '%{http_code} %{time_starttransfer} %{size_download}';
  return ['-sS', '--fail', '-o', file, '-w', facts, url];
}

/** Seconds in which skopeo copies an image to a `docker load` archive. */
export function skopeoSeconds(host: string, reference: string, folder: string): Promise<number> {
  const file = join(folder, 'skopeo.tar');
  const options = ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false'];
  return archiveSeconds('skopeo', file, [
    ...options,
    `docker://${host}/${reference}`,
    `docker-archive:${file}:${reference}`,
  ]);
}

/** Seconds in which crane pulls an image to an archive with compressed layers. */
export function craneSeconds(host: string, reference: string, folder: string): Promise<number> {
  const file = join(folder, 'crane.tar');
  return archiveSeconds('crane', file, ['pull', '--insecure', `${host}/${reference}`, file]);
}

async function archiveSeconds(program: Program, file: string, args: readonly string[]): Promise<number> {
  rmSync(file, { force: true });
  await run('sync', [], { timeout: COMMAND_MS });
  const begun = performance.now();
  await run(commandOf(program), args, { env: { TMPDIR: join(file, '..') }, timeout: COMMAND_MS });
  const seconds = (performance.now() - begun) / 1000;
  rmSync(file);
  return seconds;
}

/** Results of many small requests. */
export interface Load {
  readonly perSecond: number;
  readonly p99Ms: number;
  readonly answers: number;
  /** Answers with another status than 200. */
  readonly refused: number;
}

/** The program that {@link load} uses. */
export function loadProgram(): Program | undefined {
  return (['wrk', 'ab'] as const).find(has);
}

/**
 * Repeats a request over sixteen keep-alive connections.
 *
 * @param headers lines of its header, as `Accept: text/html`
 */
export async function load(url: string, ...headers: readonly string[]): Promise<Load> {
  const { connections, seconds, abRequests } = LOAD;
  const fields = headers.flatMap((line) => ['-H', line]);
  if (loadProgram() === 'wrk') {
    const said = await run('wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', ...fields, url]);
    const [, p99 = '', unit = ''] = /99%\s+([\d.]+)(us|ms|s)/.exec(said) ?? [];
    const scale = { us: 0.001, ms: 1, s: 1000 }[unit] ?? Number.NaN;
    return {
      perSecond: numberIn(said, /Requests\/sec:\s+([\d.]+)/),
      p99Ms: Number(p99) * scale,
      answers: numberIn(said, /(\d+) requests in/),
      refused: numberIn(said, /Non-2xx or 3xx responses: (\d+)/, 0),
    };
  }
  const said = await run('ab', ['-q', '-k', '-c', `${connections}`, '-n', `${abRequests}`, ...fields, url], {
    timeout: COMMAND_MS,
  });
  return {
    perSecond: numberIn(said, /Requests per second:\s+([\d.]+)/),
    p99Ms: numberIn(said, /99%\s+(\d+)/),
    answers: numberIn(said, /Complete requests:\s+(\d+)/),
    refused: numberIn(said, /Non-2xx responses:\s+(\d+)/, 0),
  };
}

function numberIn(text: string, pattern: RegExp, otherwise = Number.NaN): number {
  const found = pattern.exec(text)?.[1];
  return found === undefined ? otherwise : Number(found);
}
