/** Sockets and readiness as systemd has them: its own programs pass the sockets and send the messages. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeAuthority, makeServerCertificate } from './certificates.ts';
import { curl } from './curl.ts';
import { freePort } from './free-port.ts';
import {
  cleanup,
  end,
  exitWithin,
  type Running,
  requireParts,
  start,
  temporaryDirectory,
  until,
} from './parts.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Prints each message that comes to a path, one a line. */
const RECEIVER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    print(s.recv(4096).decode().replace("\\n", " "), flush=True)
`;

interface Activated {
  readonly directory: string;
  readonly running: Running;
  /** The messages so far. */
  readonly messages: () => string;
  readonly events: (event: string) => readonly Record<string, unknown>[];
}

/** Starts the service with passed sockets. It begins when the first client connects. */
async function activate(
  t: TestContext,
  listen: (directory: string) => readonly string[],
  names: string,
  variables: (directory: string) => Promise<Readonly<Record<string, string>>> = async () => ({}),
): Promise<Activated> {
  const stack = cleanup(t);
  const directory = await temporaryDirectory(stack, 'activated');
  const notify = join(directory, 'notify');
  const receiver = start('python3', ['-u', '-c', RECEIVER, notify]);
  stack.defer(async () => {
    await end(receiver, 5_000);
  });
  await until('receiver', () => (receiver.stdout().startsWith('bound') ? true : undefined));
  const env = {
    NOTIFY_SOCKET: notify,
    WORKSPACE_DIR: directory,
    // Nothing may listen there: passed sockets stand in place of the ports.
    HTTP_HOST: '192.0.2.1',
    ...(await variables(directory)),
  };
  const running = start(
    'systemd-socket-activate',
    [
      ...listen(directory).map((address) => `--listen=${address}`),
      `--fdname=${names}`,
      ...Object.entries(env).map(([name, value]) => `--setenv=${name}=${value}`),
      process.execPath,
      MAIN,
      'serve',
    ],
    { cwd: directory },
  );
  stack.defer(async () => {
    await end(running, 10_000);
  });
  await until('sockets', () => (running.stderr().includes('Listening on') ? true : undefined));
  const events = (event: string) =>
    running
      .stdout()
      .split('\n')
      .filter((line) => line.includes(`"event":"${event}"`))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { directory, running, events, messages: () => receiver.stdout() };
}

test('a passed port and a passed Unix socket serve; systemd hears READY=1 and STOPPING=1', {
  timeout: 180_000,
}, async (t) => {
  if (!requireParts(t, 'systemd-socket-activate', 'systemd-notify', 'python3', 'curl')) return;
  const port = await freePort();
  const service = await activate(
    t,
    (directory) => [`127.0.0.1:${port}`, join(directory, 'http.sock')],
    'http:docker-http-passthrough.socket',
  );
  const { directory, running } = service;
  // The first connection waits in the queue until the service is there.
  assert.equal((await curl(directory, `http://127.0.0.1:${port}/ready`)).status, 200);
  await until('READY=1', () => (service.messages().includes('READY=1') ? true : undefined));
  const socket = ['--unix-socket', join(directory, 'http.sock')];
  assert.equal((await curl(directory, 'http://localhost/', ...socket)).status, 200);
  const [{ port: logged, passedSockets } = {}] = service.events('listening');
  assert.deepEqual([logged, passedSockets], [port, 2]);
  const [{ client } = {}] = service.events('request');
  assert.equal(client, 'unix');

  // O_CLOEXEC: a program that the service starts, such as a credential helper, does not get the sockets.
  const info = await readFile(`/proc/${running.child.pid}/fdinfo/3`, 'utf8');
  const flags = Number.parseInt(/^flags:\s+(\d+)$/m.exec(info)?.[1] ?? '', 8);
  assert.equal(flags & 0o2000000, 0o2000000);

  running.child.kill('SIGTERM');
  assert.deepEqual(await exitWithin(running, 60_000), { code: 0, signal: null });
  // By a barrier systemd-notify learns that its message was read.
  const heard = service
    .messages()
    .split('\n')
    .filter((line) => line.includes('=') && line !== 'BARRIER=1');
  assert.deepEqual(heard, ['READY=1', 'STOPPING=1']);
  assert.deepEqual(service.events('notify'), []);
});

test('a passed socket named https speaks TLS', { timeout: 180_000 }, async (t) => {
  if (!requireParts(t, 'systemd-socket-activate', 'python3', 'openssl', 'curl')) return;
  const [plain, secure] = [await freePort(), await freePort()];
  let ca = '';
  const service = await activate(
    t,
    () => [`127.0.0.1:${plain}`, `127.0.0.1:${secure}`],
    'http:https',
    async (directory) => {
      const authority = await makeAuthority(directory);
      const { certificate, key } = await makeServerCertificate(directory, authority, ['IP:127.0.0.1']);
      ca = authority.certificate;
      return { TLS_CERT_FILE: certificate, TLS_KEY_FILE: key, HTTPS_ONLY: 'yes' };
    },
  );
  const { directory } = service;
  assert.equal((await curl(directory, `https://127.0.0.1:${secure}/`, '--cacert', ca)).status, 200);
  assert.equal((await curl(directory, `http://127.0.0.1:${plain}/`)).status, 403);
  assert.equal((await curl(directory, `http://127.0.0.1:${plain}/ready`)).status, 200);
});

test('a certificate without a socket named https ends the start', { timeout: 180_000 }, async (t) => {
  if (!requireParts(t, 'systemd-socket-activate', 'python3', 'curl')) return;
  const port = await freePort();
  const { directory, running } = await activate(
    t,
    () => [`127.0.0.1:${port}`],
    'http',
    async (directory) => {
      await writeFile(join(directory, 'file'), '');
      return { TLS_CERT_FILE: join(directory, 'file'), TLS_KEY_FILE: join(directory, 'file') };
    },
  );
  await curl(directory, `http://127.0.0.1:${port}/`).catch(() => undefined);
  assert.deepEqual(await exitWithin(running, 60_000), { code: 2, signal: null });
  assert.match(running.stderr(), /its unit needs FileDescriptorName=https/);
});
