import { TAGS_PER_PAGE } from './tag-list.ts';
import type { Operation } from './transport/transport.ts';

/** The URL of an operation: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints */
export interface Endpoint {
  readonly url: URL;
  /** Path with placeholders for its variable parts, for telemetry. */
  readonly template: string;
  readonly operation: Operation;
}

/**
 * `GET /v2/{repository}/manifests/{reference}`
 *
 * @param origin scheme, host and port of the registry
 * @param reference tag or digest
 */
export function manifestEndpoint(origin: string, repository: string, reference: string): Endpoint {
  return {
    url: new URL(`${origin}/v2/${repository}/manifests/${reference}`),
    template: '/v2/{repository}/manifests/{reference}',
    operation: 'manifest',
  };
}

/** `GET /v2/{repository}/blobs/{digest}` */
export function blobEndpoint(
  origin: string,
  repository: string,
  digest: string,
  operation: 'config' | 'layer',
): Endpoint {
  return {
    url: new URL(`${origin}/v2/${repository}/blobs/${digest}`),
    template: '/v2/{repository}/blobs/{digest}',
    operation,
  };
}

/**
 * First page of `GET /v2/{repository}/tags/list`
 *
 * @param origin scheme, host and port of the registry
 */
export function tagsEndpoint(origin: string, repository: string): Endpoint {
  return {
    url: new URL(`${origin}/v2/${repository}/tags/list?n=${TAGS_PER_PAGE}`),
    template: '/v2/{repository}/tags/list',
    operation: 'tags',
  };
}

/** A layer at a URL of its descriptor. Such a URL has no path template, so telemetry gets a fixed one. */
export function foreignEndpoint(url: URL): Endpoint {
  return { url, template: '{foreign_layer_url}', operation: 'layer' };
}
