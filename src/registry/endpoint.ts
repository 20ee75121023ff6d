import { TAGS_PER_PAGE } from './tag-list.ts';
import type { Operation } from './transport/transport.ts';

/** Where an operation goes: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints */
export interface Endpoint {
  readonly url: URL;
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
 * `GET /v2/{repository}/tags/list`, its first page
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

/** A layer at an address that its descriptor names: of such addresses telemetry has no template. */
export function foreignEndpoint(url: URL): Endpoint {
  return { url, template: '{foreign_layer_url}', operation: 'layer' };
}
