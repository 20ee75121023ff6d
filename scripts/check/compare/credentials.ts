/** Scenarios: who may pull, whose credentials are used, and whom they reach. */

import { APP, JSON_PLEASE, ONE, RIGHT, type Scenario, WRONG, words } from './scenario.ts';
import type { Visit } from './visit.ts';

const ROUTES = words(`${ONE} ${ONE}.md5 /registry/http/{registry}/docker/team_one_1.tar
  /registry-auth/http/{registry}/docker/team_one_1.tar /team/one:1 /{registry}/team/one:1 /bundle.tar?image=team/one:1
  /manifest/team/one:1 /tags/team/one /registry/http/{other}/docker/team_one_1.tar
  /bundle.tar?image=team/one:1&image={other}/team/one:1`);

/** Every route without credentials, with wrong ones and with right ones. */
async function eachWay(visit: Visit): Promise<void> {
  await visit.getAll(ROUTES);
  await visit.getAll(ROUTES, WRONG);
  await visit.getAll(ROUTES, RIGHT);
  await visit.getAll([ONE, '/team/one:1'], { ...RIGHT, method: 'HEAD' });
  await visit.getAll([ONE, '/team/one:1'], { method: 'HEAD' });
  await visit.getAll(['/registry-auth/http/{registry}/docker/team_one_1.tar', '/team/one:1'], JSON_PLEASE);
  await visit.prepare(ONE);
}

const OPERATOR = { REGISTRY_USERNAME: 'user', REGISTRY_PASSWORD: 'secret' };

/** Nothing is kept, so that each request shows what it may have. */
const UNKEPT = { CACHE_MAX_BYTES: '0' };

const BASIC = { mode: 'basic' } as const;
const TOKEN = { mode: 'token' } as const;

/** Hosts that the scenario of allowed registries does not list. */
const UNLISTED = words('docker.io index.docker.io registry-1.docker.io ghcr.io example.com 169.254.169.254');

/** Hosts that no service connects to. */
const FORBIDDEN = words('169.254.169.254 0.0.0.0 224.0.0.1 [fe80::1] [::ffff:169.254.169.254] [::]');

/** What is asked of Docker Hub. */
const HUB_ROUTES =
  words(`/docker/nginx_latest.tar /docker/library_nginx_latest.tar /docker/team_one_1.tar /nginx
  /docker.io/nginx /index.docker.io/team/one:1 /registry/https/docker.io/docker/nginx_1.tar
  /registry/http/docker.io/oci/nginx_1.tar /registry/https/registry-1.docker.io/docker-gzip/team_one_1.tar
  /manifest/nginx /tags/docker.io/nginx /bundle.tar?image=nginx&image=team/one:1 /docker/none_1.tar
  /nginx:latest?name=mine /library/nginx?format=tar`);

/** Faults of a token endpoint. */
const TOKEN_FAULTS: readonly (readonly [name: string, fault: Partial<Visit['world']['registry']['auth']>])[] =
  [
    ['says 401', { tokenStatus: 401 }],
    ['says 403', { tokenStatus: 403 }],
    ['says 404', { tokenStatus: 404 }],
    ['says 429', { tokenStatus: 429, tokenHeaders: { 'Retry-After': '17' } }],
    ['says 500', { tokenStatus: 500 }],
    ['says no JSON', { tokenBody: '<html>' }],
    ['says nothing', { tokenBody: '{}' }],
    ['gives no token', { tokenField: 'none' }],
    ['gives a token alone', { tokenField: 'token' }],
    ['gives an access_token alone', { tokenField: 'access_token' }],
    ['redirects', { tokenRedirectTo: 'http://127.0.0.1:1/token' }],
    ['gives a token that opens nothing', { allowAnonymous: 'noAccess' }],
    ['gives no anonymous tokens', { allowAnonymous: false }],
    ['gives a huge token', { hugeToken: 300_000 }],
    ['has a service of its own', { service: 'other service' }],
    ['is elsewhere', { realm: 'http://localhost:1/token' }],
    ['has no URL', { realm: 'nonsense' }],
    [
      'is challenged for oddly',
      {
        challengeSpelling: ({ realm, service, scope }) =>
          `bearer Realm=${JSON.stringify(realm)} , SERVICE="${service}",scope="${scope}"`,
      },
    ],
    [
      'is one of two challenges',
      {
        challengeSpelling: ({ realm, service, scope }) => [
          'Basic realm="x"',
          `Bearer realm="${realm}",service="${service}",scope="${scope}"`,
        ],
      },
    ],
    ['is not named', { challengeSpelling: () => 'Bearer scope="x"' }],
    ['is Negotiate', { challengeSpelling: () => 'Negotiate' }],
  ];

/** Scenarios of this file. */
export const CREDENTIAL_SCENARIOS: readonly Scenario[] = [
  { name: 'Basic, from the client', auth: BASIC, otherAuth: BASIC, run: eachWay },
  {
    name: 'Basic, from the client, where nothing is kept',
    auth: BASIC,
    otherAuth: BASIC,
    env: () => UNKEPT,
    run: eachWay,
  },
  {
    name: 'Basic, required of the client',
    auth: BASIC,
    env: () => ({ ...UNKEPT, ...OPERATOR, REGISTRY_CLIENT_AUTH: 'required' }),
    run: eachWay,
  },
  {
    name: 'Basic, the client is not listened to',
    auth: BASIC,
    otherAuth: BASIC,
    env: () => ({ ...UNKEPT, ...OPERATOR, REGISTRY_CLIENT_AUTH: 'off' }),
    run: eachWay,
  },
  {
    name: 'Basic, from the operator',
    auth: BASIC,
    otherAuth: BASIC,
    env: ({ other }) => ({ ...UNKEPT, ...OPERATOR, REGISTRY_CREDENTIALS_HOSTS: other.host }),
    run: eachWay,
  },
  {
    name: 'Basic, from the operator, bound to no registry',
    auth: BASIC,
    otherAuth: BASIC,
    env: () => ({ ...UNKEPT, ...OPERATOR, REGISTRY_URL: '', HTTPS_PROXY: 'http://127.0.0.1:1' }),
    run: (visit) => visit.getAll(ROUTES.filter((path) => path.includes('{'))),
  },
  { name: 'tokens, from the client', auth: TOKEN, otherAuth: TOKEN, run: eachWay },
  {
    name: 'tokens, with credentials of the operator only',
    auth: { ...TOKEN, allowAnonymous: false },
    otherAuth: { ...TOKEN, allowAnonymous: false },
    env: () => ({ ...UNKEPT, ...OPERATOR }),
    run: eachWay,
  },
  {
    name: 'tokens, required of the client',
    auth: { ...TOKEN, allowAnonymous: 'noAccess' },
    env: () => ({ ...UNKEPT, REGISTRY_CLIENT_AUTH: 'required' }),
    run: eachWay,
  },
  {
    name: 'a token that is configured',
    auth: TOKEN,
    env: () => ({ ...UNKEPT, REGISTRY_BEARER_TOKEN: 'a-token-that-is-wrong' }),
    run: eachWay,
  },
  {
    name: 'a token endpoint that is configured',
    auth: TOKEN,
    env: ({ registry }) => ({
      ...UNKEPT,
      ...OPERATOR,
      REGISTRY_AUTH_URL: `${registry.url}/token`,
      REGISTRY_SERVICE: 'fake-registry',
    }),
    run: eachWay,
  },
  {
    name: 'no token endpoint, as is configured',
    auth: TOKEN,
    env: () => ({ ...UNKEPT, REGISTRY_AUTH_URL: '' }),
    run: (visit) => visit.getAll(ROUTES.slice(0, 5), RIGHT),
  },
  {
    name: 'a token endpoint at fault',
    auth: TOKEN,
    env: () => UNKEPT,
    hasUnevenBytes: true,
    run: async (visit) => {
      const { auth } = visit.world.registry;
      const healthy = { ...auth };
      for (const [name, fault] of TOKEN_FAULTS) {
        Object.assign(auth, fault);
        visit.about = `the token endpoint ${name}`;
        await visit.get(ONE);
        await visit.get(ONE, RIGHT);
        await visit.get('/team/one:1', JSON_PLEASE);
        visit.about = '';
        Object.assign(auth, healthy);
      }
    },
  },
  {
    name: 'who may pull what is cached',
    auth: TOKEN,
    run: async (visit) => {
      const { registry } = visit.world;
      await visit.get(APP, RIGHT);
      registry.auth.allowAnonymous = false;
      await visit.get(APP);
      await visit.get(APP, WRONG);
      await visit.get(APP, RIGHT);
      registry.auth.deniedRepositories.add('team/app');
      await visit.get(APP, RIGHT);
      await visit.get('/docker/team_tool_1.tar', RIGHT);
      registry.auth.deniedRepositories.clear();
      registry.tokens.revokeAll();
      await visit.get(APP, RIGHT);
      await visit.get(`${APP}.sha256`, RIGHT);
    },
  },
  {
    name: 'registries that are not allowed',
    env: ({ registry }) => ({ REGISTRY_ALLOWED_HOSTS: `${registry.host},*.example.com` }),
    run: (visit) =>
      visit.getAll([
        ...ROUTES,
        ...UNLISTED.flatMap((host) =>
          words(`/registry/https/${host}/docker/nginx_latest.tar /${host}/nginx:latest /manifest/${host}/nginx:latest
            /tags/${host}/nginx`),
        ),
      ]),
  },
  {
    name: 'addresses that are never connected to',
    run: (visit) =>
      visit.getAll(
        FORBIDDEN.flatMap((host) => [
          `/registry/http/${host}/docker/nginx_latest.tar`,
          `/${host.startsWith('[') ? `${host}:80` : host}/nginx:latest`,
        ]),
      ),
  },
  {
    name: 'Docker Hub',
    isOtherSecure: true,
    otherAuth: { ...TOKEN, service: 'registry.docker.io', realm: 'https://auth.docker.io/token' },
    env: ({ proxy }) => ({
      ...UNKEPT,
      REGISTRY_URL: '',
      HTTPS_PROXY: proxy.url,
      // The certificate of the server that stands for Docker Hub does not name it.
      NODE_TLS_REJECT_UNAUTHORIZED: '0',
    }),
    run: (visit) => visit.getAll(HUB_ROUTES),
  },
  {
    name: 'a registry behind a proxy, with a namespace of its own',
    env: ({ proxy }) => ({
      HTTP_PROXY: proxy.host,
      NO_PROXY: 'nowhere.example',
      REGISTRY_DEFAULT_NAMESPACE: 'team',
    }),
    run: (visit) =>
      visit.getAll(words('/docker/one_1.tar /one:1 /tags/one /docker/lab_hello_1.tar /nginx:1')),
  },
];
