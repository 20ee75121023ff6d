/** A real registry, Debian's docker-registry (CNCF distribution), on loopback. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeAuthority, makeServerCertificate } from './certificates.ts';
import { end, run, start, temporaryDirectory, until } from './parts.ts';
import { startTokenServer, type TokenServer } from './token-server.ts';

/** How the registry meets its clients. */
export type RegistryMode = 'none' | 'htpasswd' | 'token' | 'tls';

/** The user that `htpasswd` and `token` registries know. The password holds what breaks careless encoding. */
export const USERNAME = 'switch-1';
export const PASSWORD = 'p:äss word/+=';

/** A second host name that the TLS registry's certificate is good for, and that no resolver knows. */
export const REGISTRY_TEST_NAME = 'registry.test';

/** Milliseconds that the registry has to open its port, and to end. */
const START_TIMEOUT = 60_000;
const STOP_GRACE = 5_000;

/** A running registry. */
export interface Registry {
  readonly mode: RegistryMode;
  readonly origin: string;
  /** Host and port. */
  readonly host: string;
  readonly port: number;
  /** The PEM file of the private authority, in mode `tls`. */
  readonly authority?: string;
  /** The file with its users, in mode `htpasswd`. The registry reads it again when it changes. */
  readonly htpasswd?: string;
  /** In mode `token`. */
  readonly tokenServer?: TokenServer;
  /** Arguments for skopeo with which it may push. */
  readonly pushArguments: readonly string[];
  /** Ends the registry before the test does. */
  readonly stop: () => Promise<void>;
}

/** The mode's own part of the configuration. JSON is YAML too. */
interface Setup {
  readonly auth?: object;
  readonly tls?: object;
  readonly authority?: string;
  readonly htpasswd?: string;
  readonly tokenServer?: TokenServer;
}

/** The line of a user in a file of `htpasswd`. */
export async function htpasswdLine(username: string, password: string): Promise<string> {
  return await run('htpasswd', ['-inB', username], { input: password });
}

async function setUp(
  mode: RegistryMode,
  stack: AsyncDisposableStack,
  directory: string,
  { username, password }: User,
): Promise<Setup> {
  switch (mode) {
    case 'none':
      return {};
    case 'htpasswd': {
      const path = join(directory, 'htpasswd');
      await writeFile(path, await htpasswdLine(username, password));
      return { auth: { htpasswd: { realm: 'Registry Realm', path } }, htpasswd: path };
    }
    case 'token': {
      const tokenServer = await startTokenServer(stack, directory, { username, password });
      const { realm, service, issuer, certificate } = tokenServer;
      return { auth: { token: { realm, service, issuer, rootcertbundle: certificate } }, tokenServer };
    }
    case 'tls': {
      const authority = await makeAuthority(directory);
      const subjects = ['IP:127.0.0.1', 'DNS:localhost', `DNS:${REGISTRY_TEST_NAME}`];
      const { key, certificate } = await makeServerCertificate(directory, authority, subjects);
      return { tls: { key, certificate }, authority: authority.certificate };
    }
  }
}

/** Whom a registry knows. */
export interface User {
  readonly username: string;
  readonly password: string;
}

/** How a registry differs from the usual one. */
export interface RegistryOptions {
  readonly user?: User;
  /** Makes it a pull-through cache: address and user of the registry behind it. */
  readonly proxy?: { readonly remoteurl: string; readonly username?: string; readonly password?: string };
}

/** Starts a registry in `mode` on a free port; it ends, and its storage goes, when `stack` is undone. */
export async function startRegistry(
  stack: AsyncDisposableStack,
  mode: RegistryMode,
  { user = { username: USERNAME, password: PASSWORD }, proxy }: RegistryOptions = {},
): Promise<Registry> {
  const directory = await temporaryDirectory(stack, `registry-${mode}`);
  const { auth, tls, authority, htpasswd, tokenServer } = await setUp(mode, stack, directory, user);
  const config = join(directory, 'config.yml');
  const settings = {
    version: '0.1',
    log: { level: 'info', formatter: 'json', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(directory, 'storage') } },
    http: { addr: '127.0.0.1:0', secret: 'loopback', ...(tls === undefined ? {} : { tls }) },
    ...(auth === undefined ? {} : { auth }),
    ...(proxy === undefined ? {} : { proxy }),
  };
  await writeFile(config, JSON.stringify(settings));

  const running = start('docker-registry', ['serve', config], { env: { OTEL_TRACES_EXPORTER: 'none' } });
  const stop = async (): Promise<void> => {
    if (running.isRunning()) {
      await end(running, STOP_GRACE);
    }
  };
  stack.defer(stop);

  // The port is the kernel's choice; the registry says it once it listens.
  const port = await until(
    'port of docker-registry',
    () => {
      const said = running.stdout() + running.stderr();
      if (!running.isRunning()) {
        throw new Error(`Cannot start docker-registry (${mode}): ${said}`);
      }
      return /listening on 127\.0\.0\.1:(\d+)/.exec(said)?.[1];
    },
    START_TIMEOUT,
  );
  const host = `127.0.0.1:${port}`;
  const hasUsers = mode === 'htpasswd' || mode === 'token';
  return {
    ...{ mode, host, stop, port: Number(port), origin: `${mode === 'tls' ? 'https' : 'http'}://${host}` },
    ...(authority === undefined ? {} : { authority }),
    ...(htpasswd === undefined ? {} : { htpasswd }),
    ...(tokenServer === undefined ? {} : { tokenServer }),
    pushArguments: [
      '--dest-tls-verify=false',
      ...(hasUsers ? ['--dest-creds', `${user.username}:${user.password}`] : []),
    ],
  };
}
