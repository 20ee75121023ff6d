/** An {@link HttpTransport} for tests, and servers that it meets. */

import { once } from 'node:events';
import { HttpTransport, type HttpTransportOptions } from '../../../src/registry/transport/http-transport.ts';
import type { Timeouts, TransportResponse } from '../../../src/registry/transport/transport.ts';
import { readAll } from '../../support/collect.ts';
import { startRawServer } from '../../support/raw-server.ts';
import { type ScriptedHandler, startScriptedServer } from '../../support/scripted-server.ts';
import { within } from '../../support/within.ts';
import { PATIENT } from './scene.ts';

/** Settings that differ from the defaults of a test. */
export interface TransportOptions extends Partial<Omit<HttpTransportOptions, 'timeouts'>> {
  readonly timeouts?: Partial<Timeouts>;
}

/** @returns a transport; disposing of it closes the connections */
export function openTransport({ timeouts, ...options }: TransportOptions = {}): HttpTransport & Disposable {
  const transport = new HttpTransport({
    timeouts: { ...PATIENT, ...timeouts },
    proxyEnv: undefined,
    userAgent: 'the user agent',
    ...options,
  });
  return Object.assign(transport, { [Symbol.dispose]: () => transport.close() });
}

/** Reads a body to its end. */
export async function textOf({ body }: TransportResponse): Promise<string> {
  return (await readAll(body)).toString();
}

/** A server that counts the connections of its requests. */
export async function startCounting(answer: ScriptedHandler) {
  const ports = new Set<number | undefined>();
  const server = await startScriptedServer((request, response, recorded) => {
    ports.add(request.socket.remotePort);
    return answer(request, response, recorded);
  });
  return { ...server, connections: () => ports.size };
}

/** A server that accepts connections and sends nothing. `firstClosed` resolves when the client has closed the first one. */
export async function startSilent() {
  const closed: Promise<unknown>[] = [];
  const server = await startRawServer((socket) => {
    socket.resume();
    closed.push(once(socket, 'close'));
  });
  const firstClosed = async (): Promise<void> => {
    await server.waitForConnections(1);
    await within(closed[0] ?? Promise.reject(new Error('no connection')), 'the end of the first connection');
  };
  return { ...server, firstClosed };
}

/** A server that sends the start of a body and then stalls. */
export async function startStalling(
  headers: Readonly<Record<string, string | number>> = { 'Content-Length': 10 },
) {
  const server = await startScriptedServer((_, response) => {
    response.writeHead(200, headers).write('start');
  });
  return { ...server, ended: () => within(server.waitForNoActiveRequests(), 'the end of the response') };
}
