import { TAGS_PER_PAGE } from './tag-list.ts';
import type { Operation } from './transport/transport.ts';

/** The URL of an operation: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints */
export interface Endpoint {
  readonly url: URL;
  /** Path with placeholders for its variable parts, for telemetry. */
  readonly template: string;
  readonly operation: Operation;
  /** See `TransportRequest`. */
  readonly isForeign?: boolean;
}

/** Where a repository is. */
export interface RepositoryPlace {
  /** Scheme, host and port of the registry. */
  readonly origin: string;
  /** Name of the repository, such as `library/nginx`. */
  readonly repository: string;
  /** Registry whose image a mirror is asked for: `ns` in the query, as containerd does it. */
  readonly namespace?: string | undefined;
}

/**
 * `GET /v2/{repository}/manifests/{reference}`
 *
 * @param reference tag or digest
 */
export function manifestEndpoint(place: RepositoryPlace, reference: string): Endpoint {
  return {
    url: urlIn(place, `manifests/${reference}`),
    template: '/v2/{repository}/manifests/{reference}',
    operation: 'manifest',
  };
}

/** `GET /v2/{repository}/blobs/{digest}` */
export function blobEndpoint(
  place: RepositoryPlace,
  digest: string,
  operation: 'config' | 'layer',
): Endpoint {
  return {
    url: urlIn(place, `blobs/${digest}`),
    template: '/v2/{repository}/blobs/{digest}',
    operation,
  };
}

/** First page of `GET /v2/{repository}/tags/list` */
export function tagsEndpoint(place: RepositoryPlace): Endpoint {
  const url = urlIn(place, 'tags/list');
  url.searchParams.set('n', String(TAGS_PER_PAGE));
  return {
    url,
    template: '/v2/{repository}/tags/list',
    operation: 'tags',
  };
}

/** First page of `GET /v2/{repository}/referrers/{digest}` */
export function referrersEndpoint(place: RepositoryPlace, digest: string): Endpoint {
  return {
    url: urlIn(place, `referrers/${digest}`),
    template: '/v2/{repository}/referrers/{digest}',
    operation: 'referrers',
  };
}

/** A layer at a URL of its descriptor. Such a URL has no path template, so telemetry gets a fixed one. */
export function foreignEndpoint(url: URL): Endpoint {
  return { url, template: '{foreign_layer_url}', operation: 'layer', isForeign: true };
}

/** @see https://github.com/containerd/containerd/blob/v2.0.0/docs/hosts.md#registry-api-calls */
function urlIn({ origin, repository, namespace }: RepositoryPlace, path: string): URL {
  const url = new URL(`${origin}/v2/${repository}/${path}`);
  if (namespace !== undefined) url.searchParams.set('ns', namespace);
  return url;
}
