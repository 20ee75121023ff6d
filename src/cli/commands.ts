import type { Command } from './command.ts';
import type { OptionSpec } from './options/parse.ts';
import { PLATFORM_OPTIONS, REGISTRY_OPTIONS, SIGNATURE_OPTIONS, SIZING_OPTIONS } from './options/specs.ts';

const QUIET: OptionSpec = { name: 'quiet', short: 'q', text: 'no progress and no summary' };

/** The shells that completion is written for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** All commands, in the order of the help. The first one also runs without its name. */
export const COMMANDS: readonly Command[] = [
  {
    name: 'serve',
    operands: '',
    arity: [0, 0],
    summary: 'serve images as archives over HTTP (also without any command)',
    text: [
      'It reads its settings from the environment and from .env in the working directory; docs/configuration.md lists ' +
        'them. The ones most often set: HTTP_PORT (8080), REGISTRY_URL (Docker Hub), REGISTRY_USERNAME, ' +
        'REGISTRY_PASSWORD, REGISTRY_ALLOWED_HOSTS (all), CACHE_DIR (none), LOG_LEVEL (info).',
    ],
    options: [
      { name: 'port', value: 'PORT', text: 'port to listen on, in place of HTTP_PORT; 0 for any free one' },
      { name: 'host', value: 'HOST', text: 'address to listen on, in place of HTTP_HOST' },
    ],
    examples: [['serve --port 9000', 'serve on port 9000 of all addresses']],
    readsDotEnv: true,
    load: () => import('./serve.ts'),
  },
  {
    name: 'pull',
    operands: 'REF FILE',
    arity: [0, Number.POSITIVE_INFINITY],
    completes: 'file',
    summary: 'pull an image to an archive: pull REF FILE, or pull REF REF… -f FILE',
    text: [
      'FILE is written beside its place and renamed when it is whole and verified; - is standard output. An ending .tgz or ' +
        '.tar.gz makes a gzipped archive. The archive is what docker load, podman load and app-hosting install take.',
    ],
    options: [
      ...PLATFORM_OPTIONS,
      ...REGISTRY_OPTIONS,
      ...SIGNATURE_OPTIONS,
      {
        name: 'file',
        short: 'f',
        value: 'FILE',
        completes: 'file',
        text: 'the archive; then every operand is an image',
      },
      {
        name: 'layout',
        value: 'LAYOUT',
        choices: ['docker', 'docker-gzip', 'oci', 'iox'],
        text: 'form of the archive: docker (the default, loads everywhere), docker-gzip, oci, or iox (a package for devices)',
      },
      ...SIZING_OPTIONS,
      {
        name: 'format',
        value: 'FORMAT',
        choices: ['tar', 'tgz'],
        text: 'tar or tgz, whatever the ending of FILE',
      },
      { name: 'name', value: 'NAME[:TAG]', text: 'the name that the archive gives the image' },
      {
        name: 'since',
        value: 'BASE',
        text: 'leave out the layers that BASE has: a tag or digest of the same repository, or an image of the same registry',
      },
      {
        name: 'manifest',
        short: 'm',
        value: 'WHICH',
        choices: ['list', 'image'],
        text: 'print the index (list) or the manifest (image), and write no file',
      },
      {
        name: 'cache',
        value: 'FOLDER',
        completes: 'folder',
        text: 'keep layers here: a pull that broke off goes on from those that are there',
      },
      QUIET,
      { name: 'parsed', text: 'print the options as they were understood, without the password, and stop' },
    ],
    examples: [
      ['pull alpine:3.20 alpine.tar', 'an archive for docker load'],
      ['pull --platform linux/arm64 alpine:3.20 alpine.tgz', 'for another platform, gzipped'],
      ['pull --layout oci --platform all alpine:3.20 alpine.tar', 'all platforms, as an OCI layout'],
      ['pull alpine:3.20 team/app:1 -f lab.tar', 'two images in one archive'],
      ['pull --since 3.19 alpine:3.20 update.tar', 'an update for those who have loaded alpine:3.19'],
      ['pull --layout iox --platform cat9k team/sensor:1 app.tar', 'a package for Cisco IOx'],
      ['pull --verify-key cosign.pub team/app:1 app.tar', 'only if it is signed with this key'],
      ['pull -q alpine:3.20 - | tar -t', 'to standard output'],
    ],
    load: () => import('./pull.ts'),
  },
  {
    name: 'manifest',
    operands: 'REF',
    arity: [1, 1],
    summary: 'print the manifest of an image, byte for byte as the registry has it',
    text: [
      'On a terminal it is indented. With --platform it is that of the platform, else what the reference names. With ' +
        '--layout iox it is the descriptor that a package of the image has.',
    ],
    options: [
      ...PLATFORM_OPTIONS,
      ...REGISTRY_OPTIONS,
      ...SIGNATURE_OPTIONS,
      {
        name: 'manifest',
        short: 'm',
        value: 'WHICH',
        choices: ['list', 'image'],
        text: 'the index (list), or the manifest of one platform (image)',
      },
      { name: 'digest', text: 'print digest, media type and size' },
      {
        name: 'layout',
        value: 'LAYOUT',
        choices: ['iox'],
        text: 'iox: print the descriptor of a package for Cisco IOx; no layer is fetched',
      },
      ...SIZING_OPTIONS,
    ],
    examples: [
      ['manifest alpine:3.20', 'what the registry has'],
      ['manifest --digest alpine:3.20', 'its digest, media type and size'],
      ['manifest --layout iox --platform cat9k team/sensor:1', 'the descriptor that a package has'],
    ],
    load: () => import('./manifest.ts'),
  },
  {
    name: 'tags',
    operands: 'REPOSITORY',
    arity: [1, 1],
    summary: 'list the tags of a repository, one a line',
    text: [],
    options: REGISTRY_OPTIONS,
    examples: [['tags alpine', 'all tags of alpine']],
    load: () => import('./tags.ts'),
  },
  {
    name: 'inspect',
    operands: 'FILE',
    arity: [1, 1],
    completes: 'file',
    summary: 'verify an archive, and tell which images it holds',
    text: [
      'It reads what docker save, podman, skopeo and others write, gzipped or not; - is standard input. Every config, layer and ' +
        'digest is verified. A bad archive is exit code 1 and a line that names the entry.',
    ],
    options: [{ name: 'json', text: 'print JSON: tags, config, platform and layers of each image' }],
    examples: [
      ['inspect alpine.tar', 'what is in an archive'],
      ['inspect --json alpine.tar', 'for programs'],
    ],
    load: () => import('./inspect.ts'),
  },
  {
    name: 'proxy',
    operands: 'REF',
    arity: [1, 1],
    summary: 'serve manifest and blobs of one image over HTTP to programs on this machine',
    text: [
      'GET /manifest gives the manifest of the image for the platform, in the form of OCI; its headers Manifest-Digest and ' +
        'Index-Digest are what the registry has. GET /blobs/DIGEST gives config and layers, verified; a connection that breaks ' +
        'before the last byte says that a blob is wrong. POST /quit ends the program.',
      'It listens on 127.0.0.1 and prints its address, or serves the one connection of a socket that its parent passes, and ends ' +
        'with it.',
    ],
    options: [
      { name: 'port', value: 'PORT', text: 'port to listen on; unless given, or with 0, any free one' },
      {
        name: 'sockfd',
        value: 'NUMBER',
        text: 'file descriptor of a connected socket, to serve in place of a port',
      },
      ...PLATFORM_OPTIONS,
      ...REGISTRY_OPTIONS,
      ...SIGNATURE_OPTIONS,
    ],
    examples: [
      ['proxy --port 8080 alpine:3.20', 'serve at http://127.0.0.1:8080'],
      ['proxy --sockfd 3 alpine:3.20', 'serve a parent that has passed a socket as descriptor 3'],
    ],
    load: () => import('./proxy/proxy.ts'),
  },
  {
    name: 'explain',
    operands: 'REF',
    arity: [1, 1],
    summary: 'tell what applies to a reference: registry, mirrors, credentials, certificates, signatures',
    text: [
      'It asks no registry, runs no credential helper, and prints no secret. Variables are also read from .env, as by serve.',
    ],
    options: [...PLATFORM_OPTIONS, ...REGISTRY_OPTIONS],
    examples: [['explain alpine:3.20', 'where alpine comes from, and with whose credentials']],
    readsDotEnv: true,
    load: () => import('./explain.ts'),
  },
  {
    name: 'health',
    operands: '',
    arity: [0, 0],
    summary: 'ask a running service whether it serves: exit code 0 or 1, for containers',
    text: [
      'It asks GET /health at HTTP_HOST and HTTP_PORT, on loopback where the service listens on all addresses.',
    ],
    options: [
      { name: 'port', value: 'PORT', text: 'port of the service, in place of HTTP_PORT' },
      { name: 'host', value: 'HOST', text: 'address of the service, in place of HTTP_HOST' },
    ],
    examples: [['health --port 9000', 'ask the service on port 9000']],
    readsDotEnv: true,
    load: () => import('./health.ts'),
  },
  {
    name: 'completion',
    operands: 'SHELL',
    arity: [1, 1],
    completes: SHELLS,
    summary: 'print the completion script of a shell: bash, zsh or fish',
    text: ['Load it in the start file of the shell: source <(docker-http-passthrough completion bash).'],
    options: [],
    examples: [['completion bash', 'for ~/.bashrc']],
    load: () => import('./completion.ts'),
  },
  {
    name: 'help',
    operands: '[COMMAND]',
    arity: [0, 1],
    completes: 'command',
    summary: 'print this text, or that of a command',
    text: [],
    options: [],
    examples: [['help pull', 'the options of pull']],
    load: () => import('./help.ts'),
  },
];
