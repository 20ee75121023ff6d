/**
 * A token server for docker-registry's token authentication: what Docker Hub's `auth.docker.io` is to Docker Hub.
 * https://distribution.github.io/distribution/spec/auth/jwt/
 */
import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http, { type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type KeyPair, makeAuthority } from './certificates.ts';

/** Seconds that a token is good for. */
const TOKEN_LIFETIME = 300;

/** Leading path of the repositories that everybody may pull. */
export const PUBLIC_NAMESPACE = 'public/';

/** One request that the token server has answered. */
export interface TokenRequest {
  readonly service: string | null;
  readonly scopes: readonly string[];
  /** The user that the Basic credentials name; undefined for an anonymous request. */
  readonly username: string | undefined;
  readonly status: number;
}

/** A running token server and how a registry comes to trust it. */
export interface TokenServer {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** PEM file for the registry's `rootcertbundle`. */
  readonly certificate: string;
  readonly requests: TokenRequest[];
}

interface Credentials {
  readonly username: string;
  readonly password: string;
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

function readBasic(request: IncomingMessage): Credentials | undefined {
  const encoded = /^basic (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (encoded === undefined) {
    return undefined;
  }
  const [username = '', ...rest] = Buffer.from(encoded, 'base64').toString().split(':');
  return { username, password: rest.join(':') };
}

/** `repository:team/app:pull,push`, less what a stranger may not do. */
function grant(scope: string, isKnown: boolean): Access {
  const [type = '', name = '', actions = ''] = scope.split(':');
  const wanted = actions.split(',');
  const stranger = name.startsWith(PUBLIC_NAMESPACE) ? wanted.filter((action) => action === 'pull') : [];
  return { type, name, actions: isKnown ? wanted : stranger };
}

/** Signs claims as ES256; the registry finds the key through `x5c`, whose root is in its `rootcertbundle`. */
async function signer(pair: KeyPair): Promise<(claims: object) => string> {
  const key = createPrivateKey(await readFile(pair.key));
  const certificate = new X509Certificate(await readFile(pair.certificate));
  const header = { typ: 'JWT', alg: 'ES256', x5c: [certificate.raw.toString('base64')] };
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  return (claims) => {
    const payload = `${encode(header)}.${encode(claims)}`;
    // RFC 7518 section 3.4: the signature is R and S side by side, not DER.
    const signature = sign('sha256', Buffer.from(payload), { key, dsaEncoding: 'ieee-p1363' });
    return `${payload}.${signature.toString('base64url')}`;
  };
}

/** Starts a token server on loopback that knows one user, and gives anonymous pull for `public/…` only. */
export async function startTokenServer(
  stack: AsyncDisposableStack,
  directory: string,
  known: Credentials,
): Promise<TokenServer> {
  const pair = await makeAuthority(directory, 'token-server');
  const signClaims = await signer(pair);
  const issuer = 'token-server.test';
  const service = 'registry.test';
  const requests: TokenRequest[] = [];

  const server = http.createServer((request, response) => {
    const query = new URL(request.url ?? '/', 'http://token-server').searchParams;
    const given = readBasic(request);
    const isKnown = given?.username === known.username && given.password === known.password;
    const status = given === undefined || isKnown ? 200 : 401;
    const scopes = query.getAll('scope').flatMap((scope) => scope.split(' '));
    requests.push({ service: query.get('service'), scopes, username: given?.username, status });

    response.writeHead(status, { 'Content-Type': 'application/json' });
    if (status === 401) {
      const error = { code: 'UNAUTHORIZED', message: 'incorrect username or password' };
      response.end(JSON.stringify({ errors: [error] }));
      return;
    }
    const now = Math.floor(Date.now() / 1000);
    const token = signClaims({
      ...{ iss: issuer, sub: given?.username ?? '', aud: service, jti: randomUUID() },
      ...{ iat: now, nbf: now - 10, exp: now + TOKEN_LIFETIME },
      access: scopes.map((scope) => grant(scope, isKnown)),
    });
    response.end(JSON.stringify({ token, expires_in: TOKEN_LIFETIME }));
  });

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo;
  return {
    realm: `http://127.0.0.1:${port}/token`,
    service,
    issuer,
    certificate: pair.certificate,
    requests,
  };
}
