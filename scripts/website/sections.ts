/** The parts of the website besides the builder. */

import { type Element, el, type View } from '../../src/web/element.ts';
import { flow } from './flow.ts';

const DEVICE = ['Device', 'IOS-XE, curl, a browser'] as const;
const SERVICE = ['Service', 'docker-http-passthrough'] as const;
const REGISTRY = ['Registry', 'V2 API'] as const;
const TOKENS = ['Token endpoint', 'of the registry'] as const;

const FILE = 'GET /docker/nginx_1.25.tar';

/** All sections, in the order of the page. */
export function sections(): readonly Element[] {
  return [flows(), registries(), telemetry(), image(), validation()];
}

function section(id: string, heading: string, ...content: readonly View[]): Element {
  return el(
    'section',
    { class: 'card site', id, 'aria-labelledby': `${id}-heading` },
    el('h2', { id: `${id}-heading` }, heading),
    ...content,
  );
}

function commands(text: string): Element {
  return el('pre', {}, el('code', {}, text));
}

function paragraph(...content: readonly View[]): Element {
  return el('p', {}, ...content);
}

function list(...items: readonly (readonly View[] | string)[]): Element {
  return el(
    'ul',
    {},
    items.map((item) => el('li', {}, ...(typeof item === 'string' ? [item] : item))),
  );
}

function code(text: string): Element {
  return el('code', {}, text);
}

function flows(): Element {
  return section(
    'flows',
    'How a request goes',
    paragraph(
      'One GET gives the whole image as a tar. All layers are fetched and verified before the first byte is sent, so a failure is an error with its own status, never half a file.',
    ),
    el('h3', {}, 'Without credentials'),
    flow(
      'flow-open',
      'A public image',
      [DEVICE, SERVICE, REGISTRY],
      [
        { from: 0, to: 1, text: FILE },
        { from: 1, to: 2, text: 'manifest, config, layers' },
        { from: 2, to: 1, text: 'bytes, verified by digest' },
        { from: 1, to: 0, text: '200, Content-Length, the tar' },
      ],
    ),
    el('h3', {}, 'The service has the credentials'),
    flow(
      'flow-service',
      'A private image, credentials on the service',
      [DEVICE, SERVICE, TOKENS, REGISTRY],
      [
        { from: 0, to: 1, text: FILE },
        { from: 1, to: 2, text: 'REGISTRY_USERNAME' },
        { from: 2, to: 1, text: 'token' },
        { from: 1, to: 3, text: 'manifest, layers, with the token' },
        { from: 3, to: 1, text: 'bytes, verified by digest' },
        { from: 1, to: 0, text: '200, the tar' },
      ],
    ),
    el('h3', {}, 'The client gives the credentials'),
    paragraph('They live for one request. The service stores, logs and traces none of them.'),
    flow(
      'flow-client',
      'A private image, credentials from the client',
      [DEVICE, SERVICE, TOKENS, REGISTRY],
      [
        { from: 0, to: 1, text: 'GET /registry-auth/…' },
        { from: 1, to: 0, text: '401, Basic' },
        { from: 0, to: 1, text: 'the same, with Basic' },
        { from: 1, to: 2, text: "the client's name and password" },
        { from: 2, to: 1, text: 'token' },
        { from: 1, to: 3, text: 'manifest, layers, with the token' },
        { from: 1, to: 0, text: '200, the tar' },
      ],
    ),
  );
}

const REGISTRIES: readonly (readonly [name: string, path: string, about: string])[] = [
  [
    'Docker Hub',
    '/registry/https/docker.io/docker/nginx_1.25.tar',
    'One name is enough for an official image: library/ is added.',
  ],
  [
    'GHCR',
    '/registry/https/ghcr.io/docker/my-org__app_1.2.tar',
    'Each / of the path is a double underscore. A private package needs a token with read:packages.',
  ],
  [
    'A local registry',
    '/registry/http/registry.example.com%3A5000/docker/team__platform__api_2026.06.tar',
    'http or https, as the registry speaks. The host is resolved where the service runs.',
  ],
  [
    'One by its IP',
    '/registry/http/10.10.20.30%3A5000/docker/team__app_1.2.tar',
    'The colon of the port is %3A for clients that take none in a path.',
  ],
];

function registries(): Element {
  return section(
    'registries',
    'Examples of registries',
    paragraph(
      'A path without a registry uses the one that is configured as ',
      code('REGISTRY_URL'),
      '. With ',
      code('/registry-auth/'),
      ' in place of ',
      code('/registry/'),
      ' the client must give credentials.',
    ),
    ...REGISTRIES.flatMap(([name, path, about]) => [
      el('h3', {}, name),
      paragraph(about),
      commands(`copy http://10.20.30.40:8080${path} flash:image.tar`),
    ]),
  );
}

function telemetry(): Element {
  return section(
    'telemetry',
    'OpenTelemetry',
    paragraph(
      'With ',
      code('OTEL_EXPORTER_OTLP_ENDPOINT'),
      ' set, each download is one trace. Without it no SDK is loaded.',
    ),
    flow(
      'flow-telemetry',
      'The spans of a download',
      [SERVICE, ['Collector', 'OTLP over gRPC'], ['Backend', 'Tempo, Jaeger, …']],
      [
        { from: 0, to: 1, text: 'parse_image_request' },
        { from: 0, to: 1, text: 'resolve_manifest' },
        { from: 0, to: 1, text: 'fetch_config_blob' },
        { from: 0, to: 1, text: 'download_layer_1 … n' },
        { from: 0, to: 1, text: 'write_layer_tar_1 … n' },
        { from: 1, to: 2, text: 'one trace for each request' },
      ],
    ),
    commands(
      'OTEL_EXPORTER_OTLP_ENDPOINT=http://otel-collector:4317\nOTEL_SERVICE_NAME=docker-http-passthrough',
    ),
    paragraph(
      'Each request to a registry is a client span below these. No credential, token or signed query reaches a span, a metric or a log.',
    ),
  );
}

function image(): Element {
  return section(
    'image',
    'The image of the service',
    paragraph(
      'The service is an OCI image for linux/amd64 and linux/arm64 under one tag. Docker and Kubernetes choose the right one.',
    ),
    commands('docker run -d -p 8080:8080 ghcr.io/cisco-open/docker-http-passthrough:latest'),
    list(
      'It runs as a user without rights, with a read-only root file system if wanted.',
      'Prepared archives lie in a temporary folder, or in a volume for CACHE_DIR.',
      'It can serve itself: the builder above takes ghcr.io/cisco-open/docker-http-passthrough.',
    ),
  );
}

function validation(): Element {
  return section(
    'validation',
    'Validate an installation',
    paragraph('From a machine near the devices. Each step needs the one before.'),
    commands(`curl --fail http://10.20.30.40:8080/health      # the process serves
curl --fail http://10.20.30.40:8080/ready       # it can write to its disk
curl --fail http://10.20.30.40:8080/tags/library/busybox
curl --fail -O http://10.20.30.40:8080/docker/busybox_latest.tar
curl --fail -sS http://10.20.30.40:8080/docker/busybox_latest.tar.sha256 | sha256sum -c
docker load -i busybox_latest.tar`),
    paragraph('Then on a device:'),
    commands(`copy http://10.20.30.40:8080/docker/busybox_latest.tar flash:busybox_latest.tar
verify /md5 flash:busybox_latest.tar
app-hosting install appid busybox package flash:busybox_latest.tar
show app-hosting list`),
    el(
      'table',
      {},
      el('caption', {}, 'What an error says'),
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          ['Status', 'Cause', 'Look at'].map((name) => el('th', { scope: 'col' }, name)),
        ),
      ),
      el(
        'tbody',
        {},
        [
          ['400', 'The file name, platform or registry is malformed', 'The message names the broken rule'],
          [
            '401',
            'The route needs credentials, or the registry refused an anonymous pull',
            'ip http client username, curl -u',
          ],
          [
            '502',
            'The registry has no such image or platform, refuses, or cannot be reached',
            "The line with the registry's own code",
          ],
          ['503', 'Too much at once, or the registry limits the rate', 'Retry-After'],
          [
            '507',
            'The image is larger than the limit, or the disk is full',
            'MAX_IMAGE_BYTES, the workspace',
          ],
        ].map(([status = '', ...cells]) =>
          el(
            'tr',
            {},
            el('th', { scope: 'row' }, status),
            cells.map((cell) => el('td', {}, cell)),
          ),
        ),
      ),
    ),
  );
}
