/** The options that several commands take. */

import type { OptionSpec } from './parse.ts';

/** Options of every command. */
export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { name: 'help', short: 'h', text: 'print this text' },
  { name: 'version', short: 'v', text: 'print version, Node.js and commit' },
];

/** How a registry is reached, and with which credentials. */
export const REGISTRY_OPTIONS: readonly OptionSpec[] = [
  { name: 'user', short: 'u', aliases: ['username'], value: 'NAME', text: 'user name at the registry' },
  {
    name: 'password',
    short: 'p',
    value: 'TEXT',
    text: 'password or token; other users of this machine may see it, so prefer --password-stdin',
  },
  { name: 'password-stdin', text: 'read the password from standard input' },
  {
    name: 'authfile',
    value: 'FILE',
    completes: 'file',
    text: 'file of docker login or podman login, in place of the usual ones',
  },
  {
    name: 'scheme',
    short: 's',
    value: 'SCHEME',
    choices: ['http', 'https'],
    text: 'http or https; unless given https, and http on loopback',
  },
  {
    name: 'cacert',
    short: 'x',
    aliases: ['ca'],
    value: 'FILE',
    completes: 'file',
    text: 'PEM file of the authority that signed the certificate of the registry',
  },
  { name: 'cert', short: 'c', value: 'FILE', completes: 'file', text: 'PEM file of a client certificate' },
  { name: 'key', short: 'k', value: 'FILE', completes: 'file', text: 'PEM file of its private key' },
  {
    name: 'cert-dir',
    value: 'DIR',
    completes: 'folder',
    text: 'folder with *.crt of authorities, and *.cert with *.key of a client, in place of the usual folders',
  },
  { name: 'insecure', short: 'i', text: 'do not verify the certificate of the registry' },
  {
    name: 'ns',
    short: 'n',
    aliases: ['namespace'],
    value: 'HOST',
    text: 'the registry that a mirror stands for: sends ?ns=HOST',
  },
];

/** Which signature an image must have. */
export const SIGNATURE_OPTIONS: readonly OptionSpec[] = [
  {
    name: 'verify-key',
    value: 'FILE[,FILE]',
    completes: 'file',
    text: 'take the image only with a signature by one of these public keys (PEM), as cosign makes them',
  },
];

/** The size of an application, for layout iox. */
export const SIZING_OPTIONS: readonly OptionSpec[] = [
  {
    name: 'profile',
    value: 'NAME',
    text: 'size of the application for --layout iox, such as c1.medium or custom',
  },
  { name: 'cpu', value: 'UNITS', text: 'CPU units for --profile custom' },
  { name: 'memory', value: 'MB', text: 'memory for --profile custom' },
  { name: 'disk', value: 'MB', text: 'disk for --profile custom' },
];

/** Which platform of an image. */
export const PLATFORM_OPTIONS: readonly OptionSpec[] = [
  {
    name: 'platform',
    value: 'PLATFORM',
    text: 'os/arch[/variant], or a device such as ir1101; unless given, that of this machine',
  },
  { name: 'os', short: 'o', value: 'OS', text: 'operating system of the platform' },
  {
    name: 'arch',
    short: 'a',
    value: 'ARCH',
    text: 'architecture of the platform, with its variant where it has one',
  },
];
