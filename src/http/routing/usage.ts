import { LAYOUTS } from '../../archive/archive.ts';

/** A route as the usage text shows it. */
export interface UsageRow {
  readonly usage: readonly [request: string, text: string];
}

/** What may stand before a route, and in place of a layout. */
const PREFIXES: readonly UsageRow[] = [
  {
    usage: [
      'GET /platform/{os}/{arch}[/{variant}]/...',
      'before any but a reference, or ?platform=os/arch behind it',
    ],
  },
  {
    usage: [
      'GET /platform/{device}/..., /platform/all/oci/...',
      'such as ir1101 or cat9k; every platform of an image',
    ],
  },
  {
    usage: [
      'GET /since/{tag}/docker/{filename}',
      'without the layers that this tag has, for those who loaded it; or ?since=',
    ],
  },
  {
    usage: [
      'GET /early/docker/{filename}',
      'begins while the image is fetched, for those who give up waiting; or ?start=early',
    ],
  },
  {
    usage: [
      'GET /profile/{name}/iox/...',
      'the size of an IOx application, such as c1.medium or custom/400/256/64',
    ],
  },
];

/** Column in which the description of a route begins. */
const TEXT_COLUMN = 57;

/**
 * The text that `GET /` answers with: what the service is, and what to type.
 *
 * @param host as the client addressed the service, so that the examples can be typed as they stand
 * @param routes in the order of the text
 * @param scheme that the client has used
 */
export function usageText(host: string, routes: readonly UsageRow[], scheme: 'http' | 'https'): string {
  const lines = [...routes, ...PREFIXES].map(({ usage: [request, text] }) =>
    `  ${request.padEnd(TEXT_COLUMN)}${text}`.trimEnd(),
  );
  const others = LAYOUTS.filter((layout) => layout !== 'docker');
  return `docker-http-passthrough: container images as tar archives over HTTP

One GET of a file name gives the image as docker save writes it:

  curl --fail -O ${scheme}://${host}/docker/nginx_latest.tar && docker load -i nginx_latest.tar
  copy ${scheme}://${host}/docker/nginx_latest.tar flash:nginx_latest.tar

A private image, with your credentials of its registry:

  curl --fail -u USER -O ${scheme}://${host}/registry-auth/https/ghcr.io/docker/my-org__private-image_latest.tar

Routes

${lines.join('\n')}

Layouts: docker; ${others.join(' and ')} stand in its place in a path, or as ?layout= behind a reference.

File names

  {image}_{tag}.tar              nginx_1.25.tar              nginx:1.25
  {namespace}_{image}_{tag}.tar  myrepo_myimage_v1.0.tar     myrepo/myimage:v1.0
  {path__to__image}_{tag}.tar    team__platform__api_1.tar   team/platform/api:1
  {image}_sha256={hex}.tar       by digest

  .tar.gz or .tgz: gzipped. .sha256, .sha512 or .md5 behind any of them: the checksum of that file.
`;
}
