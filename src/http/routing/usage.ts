/**
 * What `GET /` tells: what the service is and what to type.
 *
 * @param host as the client addressed the service, for examples that can be typed as they stand
 */
export function usageText(host: string): string {
  return `docker-http-passthrough: container images as tar archives over plain HTTP

One GET of a file name gives the image as docker save writes it:

  curl -O http://${host}/docker/nginx_latest.tar && docker load -i nginx_latest.tar
  copy http://${host}/docker/nginx_latest.tar flash:nginx_latest.tar

Routes

  GET /docker/{filename}                                   configured registry
  GET /registry/{scheme}/{host}/docker/{filename}          registry in the path
  GET /registry-auth/{scheme}/{host}/docker/{filename}     the same, with Basic credentials of the registry
  GET /{reference}                                         by reference, gzipped: /alpine:latest, /ghcr.io/org/app:1
  GET /bundle.tar?image=nginx:1.25&image=redis:7           several images in one archive; or POST, one a line
  GET /platform/{os}/{arch}[/{variant}]/...                before any but a reference, or ?platform=os/arch behind it
  GET /platform/{device}/..., /platform/all/oci/...        such as ir1101 or cat9k; every platform of an image
  GET /manifest/{reference}, GET /tags/{repository}        what there is, before pulling
  POST /prepare/docker/{filename}                          fetches it beforehand; answers where to ask how far it is
  GET /health, GET /ready

Layouts: docker; docker-gzip and oci stand in its place in a path, or as ?layout= behind a reference.

File names

  {image}_{tag}.tar              nginx_1.25.tar              nginx:1.25
  {namespace}_{image}_{tag}.tar  myrepo_myimage_v1.0.tar     myrepo/myimage:v1.0
  {path__to__image}_{tag}.tar    team__platform__api_1.tar   team/platform/api:1
  {image}_sha256={hex}.tar       by digest

  .tar.gz or .tgz: gzipped. .sha256, .sha512 or .md5 behind any of them: the checksum of that file.
`;
}
