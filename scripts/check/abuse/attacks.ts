/** The attacks of `abuse.ts`. */

import type { Attack } from './attackers.ts';

/** A row of the table. */
export interface AttackRow extends Attack {
  readonly name: string;
  /** Whether several hundred clients take part. They may cost more together than one. */
  readonly isCrowd?: boolean;
  /** Limit of open files of the service; that of the system unless given. */
  readonly openFiles?: number;
  /** Milliseconds that the attack lasts, if it needs more than the others. */
  readonly ms?: number;
}

/** A request, which ends its connection unless it is pipelined. */
const request = (method: string, path: string, headers: readonly string[] = []) =>
  `${[`${method} ${path} HTTP/1.1`, 'Host: service', 'Connection: close', ...headers].join('\r\n')}\r\n\r\n`;
const kept = (path: string) => `GET ${path} HTTP/1.1\r\nHost: service\r\n\r\n`;

const get = (path: string, headers?: readonly string[]) => request('GET', path, headers);

/** A header value that a careless expression reads in quadratic time. */
const SPACES = ' '.repeat(31_000);

/** Name of the registry in natural references. It is replaced when the registry has a port. */
export const REGISTRY = 'REGISTRY';

export const ATTACKS: readonly AttackRow[] = [
  {
    name: 'pipelined manifests of 4 MB, nothing read',
    connections: 1,
    pipelined: 300,
    requests: [kept(`/manifest/${REGISTRY}/abuse/manifest:1`)],
    reads: 'nothing',
  },
  {
    name: '60,000 pipelined requests on one connection',
    connections: 1,
    pipelined: 60_000,
    requests: [kept('/')],
    reads: 'nothing',
  },
  {
    name: '300 readers of a manifest of 4 MB that read nothing',
    connections: 300,
    requests: [get(`/manifest/${REGISTRY}/abuse/manifest:1`)],
    reads: 'nothing',
  },
  {
    name: '300 clients, each with a manifest of its own',
    connections: 300,
    addresses: 300,
    isCrowd: true,
    requests: [get(`/manifest/${REGISTRY}/abuse/manifest:t#`)],
    reads: 'nothing',
  },
  {
    name: '250 tag lists of 13 MB at once',
    connections: 250,
    requests: [get(`/tags/${REGISTRY}/abuse/tags`)],
    reads: 'nothing',
  },
  {
    name: '250 clients, each with a tag list of 13 MB',
    connections: 250,
    addresses: 250,
    isCrowd: true,
    requests: [get(`/tags/${REGISTRY}/abuse/tags#`)],
    reads: 'nothing',
  },
  {
    name: 'HEAD of an index with 100 manifests of 4 MB',
    connections: 1,
    requests: [request('HEAD', '/platform/all/oci/abuse_all_1.tar')],
    reads: 'all',
    repeats: true,
  },
  {
    name: '16 zstd layers with a window of 128 MiB',
    connections: 4,
    requests: [get('/docker/abuse_zstd_t#.tar')],
    reads: 'all',
    repeats: true,
  },
  {
    name: '80 slow readers of images with a config of 8 MB',
    connections: 80,
    requests: [get('/docker/abuse_config_t#.tar')],
    reads: 'slowly',
  },
  {
    name: '80 clients that read images with a config of 8 MB slowly',
    connections: 80,
    addresses: 80,
    isCrowd: true,
    requests: [get('/docker/abuse_config_t#.tar')],
    reads: 'slowly',
  },
  {
    name: '10,000 requests with 30 KB of query',
    connections: 4,
    pipelined: 1,
    requests: [get(`/docker/abuse_small_1.tar?utm_source=#${'q'.repeat(30_000)}`)],
    reads: 'all',
    repeats: true,
  },
  {
    name: 'tokens of 256 KB for many repositories',
    connections: 8,
    requests: [get('/docker/token__small#_1.tar')],
    reads: 'all',
    repeats: true,
  },
  {
    name: '200 preparations of images that hang',
    connections: 200,
    requests: [request('POST', '/prepare/docker/hang__app_t#.tar', ['Content-Length: 0'])],
    reads: 'all',
  },
  {
    name: '192 images of one repository that hangs',
    connections: 192,
    requests: [get('/docker/hang__app_t#.tar')],
    reads: 'all',
  },
  {
    name: '192 clients, each with an image of one repository that hangs',
    connections: 192,
    addresses: 192,
    isCrowd: true,
    requests: [get('/docker/hang__app_t#.tar')],
    reads: 'all',
  },
  {
    name: 'a slow reader of 9,950 layers, 1,024 open files',
    connections: 1,
    openFiles: 1_024,
    ms: 30_000,
    requests: [get('/platform/all/oci/abuse_layers_1.tar')],
    reads: 'slowly',
  },
  {
    name: '60 HEADs of an index with 25,000 platforms',
    connections: 60,
    requests: [request('HEAD', '/platform/linux/arm64/docker/abuse_wide_1.tar')],
    reads: 'all',
    repeats: true,
  },
  {
    name: '31 KB of spaces in Authorization',
    connections: 4,
    requests: [get('/docker/abuse_small_1.tar', [`Authorization: Basic x${SPACES}x`])],
    reads: 'all',
    repeats: true,
  },
  {
    name: '31 KB of spaces in Range',
    connections: 4,
    requests: [get('/docker/abuse_small_1.tar', [`Range: bytes=1-${SPACES}x`])],
    reads: 'all',
    repeats: true,
  },
  {
    name: '1,500 connections without a request, 1,024 open files',
    connections: 1_500,
    openFiles: 1_024,
    requests: ['GET /docker/'],
    reads: 'all',
    repeats: true,
  },
  {
    name: '500 clients that read images of their own slowly',
    connections: 500,
    addresses: 500,
    isCrowd: true,
    requests: [get('/docker/abuse_good_c#.tar')],
    reads: 'slowly',
  },
  {
    name: '500 devices behind one address that read one image slowly',
    connections: 500,
    isCrowd: true,
    requests: [get('/docker/abuse_good_fleet.tar')],
    reads: 'slowly',
  },
];
