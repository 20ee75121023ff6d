/** The scenarios of docs/validation.md. */

/** A registry of a scenario. */
export type ScenarioRegistry = 'Docker Hub' | 'GHCR' | 'local registry';

/** One way to an image. */
export interface Scenario {
  /** What the page calls it. */
  readonly name: string;
  readonly route: string;
  readonly registry: ScenarioRegistry;
  /** Where the registry's credentials come from; `none` for an anonymous pull. */
  readonly credentials: 'none' | 'service' | 'client';
  /** `{host}` stands for the address of the local registry. */
  readonly path: string;
  readonly repository: string;
  readonly tag: string;
  /** Whether the registry demands credentials. */
  readonly isPrivate: boolean;
  /** Variables of the service besides credentials; `{origin}` stands for that of the local registry. */
  readonly env: Readonly<Record<string, string>>;
  /** The tag in the archive. */
  readonly loadedAs: string;
}

const PUBLIC = { credentials: 'none', isPrivate: false, env: {} } as const;
const LOCAL = { REGISTRY_URL: '{origin}', REGISTRY_NAME: 'registry.example.com' } as const;

/** Each scenario of the page, with a row for each of its registries. */
export const SCENARIOS: readonly Scenario[] = [
  {
    ...PUBLIC,
    ...{ name: 'Public default registry', route: '/docker/{filename}', registry: 'Docker Hub' },
    ...{ path: '/docker/nginx_1.25.tar', repository: 'library/nginx', tag: '1.25' },
    loadedAs: 'nginx:1.25',
  },
  {
    ...PUBLIC,
    ...{ name: 'Request-selected registry', route: '/registry/http/{host}/docker/{filename}' },
    ...{ registry: 'local registry', path: '/registry/http/{host}/docker/team__app_1.2.tar' },
    ...{ repository: 'team/app', tag: '1.2', loadedAs: '{host}/team/app:1.2' },
  },
  {
    ...{ name: 'Static private registry', route: '/docker/{filename}', registry: 'Docker Hub' },
    ...{ credentials: 'service', isPrivate: true, env: { REGISTRY_URL: 'https://registry-1.docker.io' } },
    ...{ path: '/docker/my-user_private-image_2026.06.tar', repository: 'my-user/private-image' },
    ...{ tag: '2026.06', loadedAs: 'my-user/private-image:2026.06' },
  },
  {
    ...{ name: 'Static private registry', route: '/docker/{filename}', registry: 'local registry' },
    ...{ credentials: 'service', isPrivate: true, env: LOCAL },
    ...{ path: '/docker/team__platform__api_2026.06.tar', repository: 'team/platform/api' },
    ...{ tag: '2026.06', loadedAs: 'registry.example.com/team/platform/api:2026.06' },
  },
  {
    ...{ name: 'Client credentials for the default registry', registry: 'Docker Hub' },
    ...{ route: '/docker/{filename}', credentials: 'client', isPrivate: true },
    env: { REGISTRY_CLIENT_AUTH: 'required' },
    ...{ path: '/docker/my-user_private-image_2026.06.tar', repository: 'my-user/private-image' },
    ...{ tag: '2026.06', loadedAs: 'my-user/private-image:2026.06' },
  },
  {
    ...{ name: 'Registry and credentials from the client', registry: 'Docker Hub' },
    ...{ route: '/registry-auth/{scheme}/{host}/docker/{filename}', credentials: 'client' },
    ...{
      isPrivate: true,
      env: {},
      path: '/registry-auth/https/docker.io/docker/my-user_private-image_1.tar',
    },
    ...{ repository: 'my-user/private-image', tag: '1', loadedAs: 'my-user/private-image:1' },
  },
  {
    ...{ name: 'Registry and credentials from the client', registry: 'local registry' },
    ...{ route: '/registry-auth/{scheme}/{host}/docker/{filename}', credentials: 'client' },
    ...{
      isPrivate: true,
      env: {},
      path: '/registry-auth/http/{host}/docker/team__platform__api_2026.06.tar',
    },
    ...{ repository: 'team/platform/api', tag: '2026.06', loadedAs: '{host}/team/platform/api:2026.06' },
  },
  {
    ...PUBLIC,
    ...{ name: 'Public GHCR', route: '/registry/https/ghcr.io/docker/{filename}', registry: 'GHCR' },
    path: '/registry/https/ghcr.io/docker/cisco-open__docker-http-passthrough_latest.tar',
    ...{ repository: 'cisco-open/docker-http-passthrough', tag: 'latest' },
    loadedAs: 'ghcr.io/cisco-open/docker-http-passthrough:latest',
  },
  {
    ...{ name: 'Authenticated GHCR', registry: 'GHCR', credentials: 'client', isPrivate: true, env: {} },
    route: '/registry-auth/https/ghcr.io/docker/{filename}',
    path: '/registry-auth/https/ghcr.io/docker/my-org__private-image_latest.tar',
    ...{ repository: 'my-org/private-image', tag: 'latest', loadedAs: 'ghcr.io/my-org/private-image:latest' },
  },
];
