/** A server with a port of https, whose files a test replaces. */

import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { HttpServer, HttpServerOptions } from '../../src/http/connections/server.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import type { Issued } from './authority.ts';
import { type Handle, startServer } from './http-server.ts';
import { ownFolder } from './leave-nothing.ts';
import { type LogEvent, MemoryLog } from './memory-log.ts';
import { within } from './within.ts';

/** Milliseconds between two looks at the files: the time in which a test sees a change. */
export const CHECK_MS = 20;

/** The files of a certificate in a folder of their own. */
export interface TlsFolder {
  readonly path: string;
  /** As `HttpServer` takes them. */
  readonly files: {
    readonly certificate: string;
    readonly key: string;
    readonly clientAuthorities: string | undefined;
  };
}

/** Writes a certificate and its key. */
export async function writeTls({ cert, key }: Issued, clientAuthorities?: string): Promise<TlsFolder> {
  const path = await mkdtemp(join(tmpdir(), 'tls-'));
  ownFolder(path);
  const files = {
    certificate: join(path, 'tls.crt'),
    key: join(path, 'tls.key'),
    clientAuthorities: clientAuthorities === undefined ? undefined : join(path, 'ca.crt'),
  };
  await writeFile(files.certificate, cert);
  await writeFile(files.key, key);
  if (files.clientAuthorities !== undefined)
    await writeFile(files.clientAuthorities, clientAuthorities ?? '');
  return { path, files };
}

/** A running server. */
export interface TlsServer extends AsyncDisposable {
  readonly server: HttpServer;
  readonly port: number;
  readonly httpsPort: number;
  readonly log: MemoryLog;
}

/** A log in memory, with all levels. */
export function memoryLogger() {
  const log = new MemoryLog();
  const write = (line: string) => log.add(JSON.parse(line) as LogEvent);
  return { log, logger: createLogger({ level: 'trace', isTerminal: false, write }) };
}

/** Starts a server on free ports. */
export async function startTlsServer(
  handle: Handle,
  { files }: TlsFolder,
  options: Partial<HttpServerOptions> = {},
): Promise<TlsServer> {
  const { log, logger } = memoryLogger();
  const started = await startServer(handle, {
    httpsPort: 0,
    tls: { files, logger, checkMs: CHECK_MS },
    ...options,
  });
  return {
    server: started.server,
    port: started.port,
    httpsPort: started.server.httpsPort ?? 0,
    log,
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  };
}

/** An encrypted connection, once it is there. */
export async function connectTls(port: number, options: ConnectionOptions): Promise<TLSSocket & Disposable> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ...options }, resolve);
  socket.on('error', reject);
  socket.once('close', () => reject(new Error('closed')));
  await within(promise, 'a TLS handshake');
  return Object.assign(socket, { [Symbol.dispose]: () => void socket.destroy() });
}
