/** What a reader can do about an error: one table for the service and the command line. */

import type { CredentialOrigin, ErrorCode, ErrorDetails, PassthroughError, Setting } from '../errors.ts';
import { CREDENTIAL_NAMES } from '../registry/response-error.ts';
import { printable, quoted } from '../util/printable.ts';
import { systemErrorCode } from '../util/system-error.ts';
import { formatBytes } from '../util/text/format-bytes.ts';
import { VARIABLES } from './variables.ts';

/** Who shows an error. The service's readers change variables and URLs, those of the command line change options. */
export type Face = 'service' | 'commandLine';

/** A text, or what makes it from the facts of an error. */
type Text = string | ((details: ErrorDetails) => string);

/** A text for each face; one that is left out shows nothing. */
type Texts = Readonly<Partial<Record<Face, Text>>>;

/**
 * What to change for an error that a setting decides. It replaces the reason in the message: the layers that throw such an error
 * do not know the names of variables and options.
 */
const REASONS: Readonly<Partial<Record<Setting, Readonly<Record<Face, string>>>>> = {
  allowedHosts: both(`${VARIABLES.allowedHosts} does not list it`),
  foreignLayers: {
    service: `it lies outside of the registry; set ${VARIABLES.foreignLayers}=fetch, or take layout docker-gzip, which only names it`,
    commandLine: `it lies outside of the registry; set ${VARIABLES.foreignLayers}=fetch, or take --layout docker-gzip, which only names it`,
  },
};

/** A sentence on what to change, where the reason in the message stays. */
const HINTS: Readonly<Partial<Record<Setting, Texts>>> = {
  compressedBytes: both(`${VARIABLES.compressedBytes} sets how much is allowed`),
  uncompressedBytes: both(`${VARIABLES.uncompressedBytes} sets how much is allowed`),
  bufferedBytes: both(`${VARIABLES.bufferedBytes} sets how much is allowed`),
  cacheDirectory: {
    service: (details) => fullDisk(VARIABLES.cacheDirectory, details),
    commandLine: (details) => fullDisk('--cache', details),
  },
  workspaceDirectory: both((details) => fullDisk(VARIABLES.workspaceDirectory, details)),
  signatureKeys: {
    service: `It is one of ${VARIABLES.signatureKeys}`,
    commandLine: `It is one of --verify-key or ${VARIABLES.signatureKeys}`,
  },
  signatureRepository: both(
    'SIGNATURE_MATCH_REPOSITORY=yes: a signature must name this repository, which the bundles of cosign 3 do not; sign with ' +
      '--new-bundle-format=false',
  ),
  caCert: { commandLine: 'It is the file of --cacert' },
  clientCert: { commandLine: 'It is the file of --cert' },
  clientKey: { commandLine: 'It is the file of --key' },
  trustedCertificates: {
    service: `Put the PEM file of its authority into the folder of this host in ${VARIABLES.certificates}, or name it in ${VARIABLES.trustedCertificates}`,
    commandLine:
      'Name the PEM file of its authority with --cacert, or put it into a folder of this host in ~/.config/containers/certs.d; --insecure skips the verification',
  },
  serverCertificate: both(
    'The registry needs another certificate, or is to be asked by another name, or the clock here is wrong',
  ),
  clientIdentity: {
    service: `The client certificate belongs into the folder of this host in ${VARIABLES.certificates}, as client.cert and client.key`,
    commandLine: 'Name the certificate and its key with --cert and --key',
  },
  plainHttpHosts: {
    service: `List it in ${VARIABLES.plainHttpHosts}, or write /registry/http/… in the URL`,
    commandLine: 'Add --scheme http',
  },
  tlsAtRegistry: {
    service: `Write https in the URL; ${VARIABLES.plainHttpHosts} must not list it`,
    commandLine: 'Add --scheme https',
  },
  trustedRealms: both(
    `${VARIABLES.trustedRealms} lists further hosts of token endpoints that may receive credentials`,
  ),
};

/** Credentials as each face names them, in place of the names that the lower layers know. */
const CREDENTIALS: Readonly<Record<Exclude<CredentialOrigin, 'none'>, Readonly<Record<Face, string>>>> = {
  client: { service: CREDENTIAL_NAMES.client, commandLine: 'the credentials of --user' },
  environment: both(`the credentials of ${VARIABLES.username}`),
  token: both(`the token of ${VARIABLES.bearerToken}`),
  file: {
    service: `the credentials of ${VARIABLES.authFile}`,
    commandLine: 'the credentials of docker login or podman login',
  },
  helper: both(CREDENTIAL_NAMES.helper),
};

/** What to do about a base that cannot be had. */
const WITHOUT_BASE: Readonly<Record<Face, string>> = {
  service: 'without since, the archive is whole',
  commandLine: 'without --since, the archive is whole',
};

/** Longest folder in a hint, in characters. */
const MAX_FOLDER_LENGTH = 500;

/** Codes of the system for what a user may not write. */
const NOT_ALLOWED = new Set(['EACCES', 'EPERM', 'EROFS']);

/** A row applies to errors of its code; with `when`, only to those. The first row that applies is shown. */
interface Row extends Texts {
  readonly code: ErrorCode;
  readonly when?: (error: PassthroughError) => boolean;
}

const ROWS: readonly Row[] = [
  {
    code: 'REGISTRY_UNREACHABLE',
    when: ({ cause }) => systemErrorCode(cause) === 'ENOTFOUND',
    commandLine: 'Check the spelling of the host; images of Docker Hub are named without a host',
  },
  {
    code: 'REGISTRY_UNREACHABLE',
    when: ({ details }) => details.setting === undefined,
    commandLine:
      'Check host and port; --scheme http is for registries without TLS, HTTPS_PROXY names a proxy',
  },
  {
    code: 'REGISTRY_DENIED',
    commandLine:
      'Sign in with docker login, or give --user and --password-stdin; many registries say this of images that do not exist, too',
  },
  { code: 'CREDENTIALS_REQUIRED', commandLine: 'Give --user and --password-stdin' },
  {
    code: 'IMAGE_NOT_FOUND',
    commandLine: 'Check name and tag: the command tags lists the tags of a repository',
  },
  {
    code: 'PLATFORM_NOT_FOUND',
    when: ({ details }) => (details.offered ?? []).length > 0,
    commandLine: 'Choose one of these with --platform',
  },
  {
    code: 'REGISTRY_FAILED',
    when: ({ details }) => details.registryStatus === 400 && details.setting === undefined,
    service: 'If it speaks https, write https in the URL',
    commandLine: 'If it speaks https, add --scheme https',
  },
  {
    code: 'IMAGE_TOO_LARGE',
    when: ({ details }) => details.setting === undefined,
    ...both(`${VARIABLES.manifestBytes} and ${VARIABLES.configBytes} set how large documents may be`),
  },
  {
    code: 'NO_SPACE',
    when: ({ details }) => details.setting === undefined,
    commandLine: 'Free some of it, or name a file on another disk',
  },
  {
    code: 'CANNOT_WRITE',
    when: ({ cause }) => systemErrorCode(cause) === 'ENOENT',
    commandLine: 'Create its folder first',
  },
  {
    code: 'CANNOT_WRITE',
    when: ({ cause }) => NOT_ALLOWED.has(systemErrorCode(cause) ?? ''),
    commandLine: 'Name a file that this user may write',
  },
  {
    code: 'IMAGE_NOT_SIGNED',
    service: `Sign this digest with cosign sign --key, or add the public key of those who signed it to ${VARIABLES.signatureKeys}`,
    commandLine: 'Sign this digest with cosign sign --key, or name the public key of those who signed it',
  },
  { code: 'REGISTRY_RATE_LIMITED', commandLine: 'Sign in with docker login, or wait' },
  { code: 'REGISTRY_TIMEOUT', commandLine: 'Check the way to the registry, and try again' },
  {
    code: 'VERIFICATION_FAILED',
    commandLine: 'Nothing was written: a proxy on the way or the registry itself changes bytes; try again',
  },
];

/**
 * The message of an error. Its reason, which follows the last colon, names the variable if a setting decides. Refused credentials are
 * named as the face knows them.
 */
export function messageFor(error: PassthroughError, face: Face): string {
  const { setting, credentials = 'none' } = error.details;
  const message =
    credentials === 'none'
      ? error.message
      : error.message.replace(CREDENTIAL_NAMES[credentials], CREDENTIALS[credentials][face]);
  const reason = setting && REASONS[setting]?.[face];
  return reason === undefined ? message : `${message.slice(0, message.lastIndexOf(': '))}: ${reason}`;
}

/** What to try about an error: one sentence each, without a full stop; the first one is the most likely. */
export function hintsFor(error: PassthroughError, face: Face): readonly string[] {
  const { hints = [], base, setting } = error.details;
  const ofSetting = setting && HINTS[setting]?.[face];
  const row = ROWS.find(({ code, when }) => code === error.code && (when === undefined || when(error)));
  const ofBase =
    base === undefined ? undefined : `${printable(base)} is the base of the update: ${WITHOUT_BASE[face]}`;
  const texts = [ofBase, ofSetting, row?.[face]].filter((text) => text !== undefined);
  return [...hints, ...texts.map((text) => (typeof text === 'string' ? text : text(error.details)))];
}

function both<T extends Text>(text: T): Readonly<Record<Face, T>> {
  return { service: text, commandLine: text };
}

/** What is left on the disk of a folder, and which setting has named the folder. */
function fullDisk(name: string, { folder = '', disk }: ErrorDetails): string {
  const where = `${name} is ${quoted(folder, MAX_FOLDER_LENGTH)}`;
  if (disk === undefined) return where;
  const { freeBytes, totalBytes, freeFiles } = disk;
  const files = freeFiles === 0 ? ', and no more files can be created' : '';
  return `${where}: ${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} are free${files}`;
}
