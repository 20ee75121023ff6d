/**
 * What each error means and what to do about it: the texts of docs/errors.md, in Markdown. Status, title and exit code come from the
 * tables of the code, so a text repeats neither.
 */

import type { ErrorCode } from '../../src/errors.ts';

/** A row of the page. */
export interface ErrorText {
  /** What has happened, and on which conditions. */
  readonly means: string;
  /** What to check or to change. */
  readonly remedy: string;
}

/** The text of each code. The compiler names a code that has none. */
export const ERROR_TEXTS: Readonly<Record<ErrorCode, ErrorText>> = {
  INVALID_FILENAME: {
    means: 'The file name breaks a rule of [File names](file-names.md). The line says which one.',
    remedy:
      'Write `{image}_{tag}.tar`, and `__` for a slash. A tag that has an underscore needs the [reference](routes.md#by-reference).',
  },
  INVALID_PLATFORM: {
    means: 'The platform is not `os/arch[/variant]` and not a known device, or path and query differ.',
    remedy: 'Take a name from [Platforms](platforms.md).',
  },
  INVALID_REGISTRY: {
    means: 'Scheme or host of the registry cannot be read.',
    remedy:
      'Write `http` or `https`, then a name or address with a port from 1 to 65535, without a user name. `%3A` stands for the colon of a port.',
  },
  INVALID_REFERENCE: {
    means:
      'A reference, a parameter, the list of a bundle or the whole path cannot be read. Or a bundle names several registries where clients must send credentials.',
    remedy: 'The line quotes the part that is wrong. [Routes](routes.md) has the forms.',
  },
  UNKNOWN_PARAMETER: {
    means: 'The route does not take a parameter of the query.',
    remedy:
      'The line has the nearest name. Parameters of signed and tracked URLs are [ignored](routes.md#parameters-of-others).',
  },
  INVALID_REQUEST: {
    means:
      'The request has two `Host` fields, or a malformed one. Or a trusted proxy has sent `Forwarded` or `X-Forwarded-For` that [mean nothing](listener.md#behind-a-proxy). Or a parameter of `/status` has another value than `yes` or `no`.',
    remedy: 'The line says which. Look for a proxy on the way that adds or changes these fields.',
  },
  CREDENTIALS_REQUIRED: {
    means:
      'The client sent no Basic credentials, or unreadable ones. With a [reference](routes.md#by-reference) also: the registry refuses an anonymous pull. On IOS-XE the first 401 of a download is normal.',
    remedy:
      'Send the user name and token of the registry: `curl -u`, or `ip http client username` on IOS-XE.',
  },
  CROSS_SITE: {
    means:
      'A page of another site makes a request with `Authorization`, or one that is no GET or HEAD: see [Credentials](credentials.md#requests-of-other-sites).',
    remedy: 'Call the service from its own page, or from a program that is no browser.',
  },
  CLIENT_NOT_ALLOWED: {
    means:
      'The address of the client is in no network of `CLIENT_ALLOWED_NETWORKS`: see [Who may connect](listener.md#networks). Or the route is for operators, and `STATUS_ALLOWED_NETWORKS` does not list the address, or the request came through a proxy: see [Status](operations.md#status).',
    remedy: 'The line names the variable. Ask the operator to list the network.',
  },
  HTTPS_REQUIRED: {
    means:
      'Plain HTTP is for `/health` and `/ready` alone, because of `HTTPS_ONLY` or `TLS_CLIENT_CA_FILE`: see [HTTPS](listener.md#https).',
    remedy: 'Use the address in the line.',
  },
  HOST_NOT_ALLOWED: {
    means:
      '`HTTP_ALLOWED_HOSTS` does not list the `Host` of the request: see [Who can ask](operations.md#who-can-ask).',
    remedy: 'Use one of the listed names. The operator adds others to the list.',
  },
  IMAGE_NOT_SIGNED: {
    means:
      'The image must be signed, and has no valid signature by one of `SIGNATURE_KEYS`. A line says what was looked for, and why it does not count: see [Signatures](signatures.md#image-not-signed).',
    remedy: 'Sign the digest in the line with `cosign sign --key`. Or ask the operator which keys count.',
  },
  REGISTRY_NOT_ALLOWED: {
    means:
      '`REGISTRY_ALLOWED_HOSTS` does not list the registry. Or its address is link-local, unspecified, multicast or that of a metadata service, which is always refused.',
    remedy: 'Ask the operator to list the host. Check what the name resolves to at the service.',
  },
  NOT_FOUND: {
    means:
      'There is no such route, or no such preparation. A path that is nearly a route, or a name that no image has, is 404 too: see [By reference](routes.md#by-reference).',
    remedy: '`GET /` lists the routes. For a near miss, the line has the nearest one.',
  },
  METHOD_NOT_ALLOWED: {
    means: 'The route has other methods.',
    remedy: 'The header `Allow` lists them.',
  },
  PRECONDITION_FAILED: {
    means:
      '`If-Match` does not name the `ETag`, or the rest of a download would be that of another file: see [Resume a download](routes.md#resume-a-download).',
    remedy: 'Remove the part of the file, and download it again. The tag has moved.',
  },
  REGISTRY_UNREACHABLE: {
    means: 'There is no connection from the service to the registry or to its token endpoint.',
    remedy:
      'Check name, port, route and proxy at the service, not at the client. [Certificates of registries](registry-certificates.md#what-errors-mean) says what to do about each fault of TLS. For a registry without TLS, write `/registry/http/…`.',
  },
  REGISTRY_DENIED: {
    means:
      'The credentials are wrong, are missing, or have no right to this image: the line says whose credentials were used. Many registries answer this for images that do not exist, too.',
    remedy:
      'Check the spelling of the image first. Then check the token: it must be able to pull. [Credentials](credentials.md) says which credentials are used, and where they may go.',
  },
  IMAGE_NOT_FOUND: {
    means: 'The registry has no such repository, tag or blob.',
    remedy:
      'Look at the tags: `GET /tags/{repository}`. Only Docker Hub adds `library/` to a name without a slash.',
  },
  PLATFORM_NOT_FOUND: {
    means:
      'The image is not offered for the platform. The line lists up to eight of the platforms that it offers, and says how many there are.',
    remedy: 'Ask for one of these: `/platform/{os}/{arch}/…`. [Platforms](platforms.md) has the devices.',
  },
  UNSUPPORTED_IMAGE: {
    means:
      'The image cannot become this archive: schema 1, an artifact where an image is needed, a layer outside of the registry, a manifest or config that cannot be read, or a label that makes the descriptor of an IOx package invalid.',
    remedy:
      'Push the image again with a current tool. For a layer outside of the registry, see `REGISTRY_FOREIGN_LAYERS`. For an IOx package, correct the label that the line names: see [Labels](cisco-iox.md#labels).',
  },
  VERIFICATION_FAILED: {
    means: 'Digest or size of what the registry sent do not match. No byte was sent to the client.',
    remedy:
      'Try again once. If the error stays, the registry or a proxy on the way is broken: the log has both digests.',
  },
  REGISTRY_FAILED: {
    means: 'The registry answered 5xx at every attempt, or something that the protocol does not allow.',
    remedy:
      'Look at the state of the registry. After a status 400, it may speak https where the URL says http.',
  },
  REGISTRY_RATE_LIMITED: {
    means: 'The registry limits its rate. Its `Retry-After` is passed on.',
    remedy:
      'Wait. Credentials give a higher limit at Docker Hub; a [mirror](containers.md#with-compose) takes the load from it.',
  },
  BUSY: {
    means:
      'Too many preparations or look-ups, too much work of one client, too many listeners to preparations, no memory of `MAX_BUFFERED_BYTES` came free, too many open files, or the service is stopping.',
    remedy:
      'Try again after `Retry-After` seconds. If it happens often, see [Fleets](fleets.md) and [Scaling](scaling.md).',
  },
  ABORTED: {
    means: 'The work was stopped, because the service ends or the preparation was cancelled.',
    remedy: 'Ask again. Another replica answers if there is one.',
  },
  REGISTRY_TIMEOUT: {
    means:
      'The registry does not answer or stopped in the middle, or the preparation took longer than `PREPARE_TIMEOUT`.',
    remedy:
      'Check the way to the registry. Raise `PREPARE_TIMEOUT` for large images on slow links, or [prepare them before](fleets.md#prepare-before-the-maintenance-window).',
  },
  IMAGE_TOO_LARGE: {
    means:
      'The image is over `MAX_COMPRESSED_BYTES` or `MAX_IMAGE_BYTES`, a manifest or config is over `MAX_MANIFEST_BYTES` or `MAX_CONFIG_BYTES`, the manifests below an index are over eight times `MAX_MANIFEST_BYTES`, or more than `MAX_BUFFERED_BYTES` allows is needed.',
    remedy: 'Take a smaller image, or raise the variable that the answer names.',
  },
  NO_SPACE: {
    means:
      'The disk of `CACHE_DIR` or `WORKSPACE_DIR` is full. A line names the variable, its folder, and how much is free.',
    remedy: 'Remove files, lower `CACHE_MAX_BYTES`, or choose a larger disk: see [Disk](operations.md#disk).',
  },
  CANNOT_WRITE: {
    means:
      'The file that an image is pulled to cannot be written. An error of the command line and of the [library](library.md), not an answer to a request.',
    remedy: 'Create the folder, or name a file that this user may write.',
  },
  DAMAGED: {
    means: 'A prepared file was damaged on the disk and could not be fetched again.',
    remedy: 'Ask again: the file is fetched again. Check the disk: the log has `store_damage`.',
  },
  INVALID_CONFIGURATION: {
    means:
      'A setting cannot be used. It ends the start with exit code 2. It is an answer to a request only if a [helper program](credentials.md#credentials-by-registry) fails, or certificates of a host could never be used.',
    remedy:
      'The line names variable, value and reason: see [Operations](operations.md#start) and [Configuration](configuration.md).',
  },
  INVALID_ARCHIVE: {
    means:
      'A file is no archive of images, or an entry cannot be trusted. An error of the [library](library.md) and of `inspect`, not an answer to a request.',
    remedy: 'The line names file and entry. Fetch the archive again, and compare its checksum.',
  },
  INTERNAL: {
    means: 'A fault of this program.',
    remedy: 'The log has the stack under the ID of the request. Report it.',
  },
};
