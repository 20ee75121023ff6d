/** The `proxy` command as programs use it: on a port, and on a socket that its parent has passed. */

import { type ChildProcess, spawn } from 'node:child_process';
import http, { type IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import { builtMain } from '../../support/built-service.ts';
import { Conditions } from '../../support/conditions.ts';
import { ownProcess } from '../../support/leave-nothing.ts';
import { COMPILED } from '../../support/shared.ts';
import { within } from '../../support/within.ts';

/** Longest start, answer and end of a command, in milliseconds: many run at once. */
const LIMIT_MS = 60_000;

/** How a proxy ended. */
export interface ProxyEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

/** A running proxy. Its disposal kills it. */
export interface RunningProxy extends AsyncDisposable {
  readonly child: ChildProcess;
  /** What it has written to standard error so far. */
  stderr(): string;
  /** Waits until standard error matches. */
  waitForError(pattern: RegExp): Promise<void>;
  /** Waits for the end. */
  ended(): Promise<ProxyEnd>;
}

/** A proxy that listens. */
export interface ListeningProxy extends RunningProxy {
  readonly port: number;
}

/** A proxy with a socket: the end of its parent. */
export interface SocketProxy extends RunningProxy {
  readonly socket: Duplex;
}

/** Starts a proxy on a free port, and waits for its address. */
export async function startProxy(args: readonly string[], env = {}): Promise<ListeningProxy> {
  const { running, output } = await spawnProxy(args, env, ['ignore', 'pipe', 'pipe']);
  const port = await within(
    output.when(() => /^http:\/\/127\.0\.0\.1:(\d+)\n$/.exec(running.stdout())?.[1]),
    'the address of the proxy',
    LIMIT_MS,
  );
  return { ...running, port: Number(port) };
}

/** Starts a proxy, and passes one end of a socket pair as file descriptor 3. */
export async function startProxyOnSocket(args: readonly string[], env = {}): Promise<SocketProxy> {
  // Node makes a pair of UNIX sockets for 'pipe'.
  const { running } = await spawnProxy(['--sockfd', '3', ...args], env, ['ignore', 'pipe', 'pipe', 'pipe']);
  const socket = running.child.stdio[3] as Duplex;
  socket.on('error', () => undefined);
  return { ...running, socket };
}

async function spawnProxy(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  stdio: ('ignore' | 'pipe')[],
) {
  const child = spawn(process.execPath, [await builtMain(), 'proxy', ...args], {
    env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', ...COMPILED, ...env },
    stdio,
  });
  ownProcess(child);
  const output = new Conditions();
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
      output.changed();
    });
  }
  const { promise: closed, resolve } = Promise.withResolvers<ProxyEnd>();
  child.once('exit', (code, signal) => {
    // Its end of the socket is closed; what this side still holds would delay `close`.
    (child.stdio[3] as Duplex | undefined)?.destroy();
    child.once('close', () => {
      resolve({ code, signal, stderr: texts.stderr });
      output.close(
        new Error(`Cannot wait for the proxy: it has ended with ${code ?? signal}\n${texts.stderr}`),
      );
    });
  });
  const running = {
    child,
    stdout: () => texts.stdout,
    stderr: () => texts.stderr,
    waitForError: async (pattern: RegExp) => {
      const found = output.when(() => (pattern.test(texts.stderr) ? true : undefined));
      await within(found, `${pattern} on standard error`, LIMIT_MS);
    },
    ended: () => within(closed, 'the end of the proxy', LIMIT_MS),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await within(closed, 'the end of the proxy', LIMIT_MS);
    },
  };
  return { running, output };
}

/** An answer of the proxy. */
export interface ProxyReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Sends requests over one connection, which stays open between them. */
export class OneConnection {
  readonly #agent: http.Agent;

  /** @param socket connected */
  constructor(socket: Duplex) {
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    this.#agent.createConnection = () => socket;
  }

  /**
   * Sends a request and reads the answer.
   *
   * @throws when the connection breaks
   */
  async request(path: string, method = 'GET'): Promise<ProxyReply> {
    const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
    http
      .request({ path, method, agent: this.#agent, headers: { Host: 'localhost' } }, resolve)
      .on('error', reject)
      .end();
    const response = await within(promise, `the header of ${path}`, LIMIT_MS);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const { statusCode: status = 0, headers } = response;
    return { status, headers, body: Buffer.concat(chunks) };
  }
}
