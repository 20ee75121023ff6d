import { homedir } from 'node:os';
import { policyLines } from '../config/policy/lines.ts';
import { PassthroughError } from '../errors.ts';
import { explainImage, readExplained } from '../pull/policy/explain.ts';
import { authFilePaths, placesFor } from '../registry/auth/auth-file.ts';
import { type CommandCall, PROGRAM } from './command.ts';
import { checkRegistryOptions, readTls } from './options/images.ts';
import { readPlatform } from './options/platform.ts';
import { loadSettings } from './options/settings.ts';
import { exitCodeOf } from './output/error-lines.ts';
import { print, write } from './output/print.ts';

/** Options that give certificates. */
const CERTIFICATE_OPTIONS = ['cacert', 'cert'] as const;

/** The `explain` command. */
export async function run({ options, positionals, environment, warnings }: CommandCall): Promise<number> {
  checkRegistryOptions(options);
  const settings = loadSettings(environment);
  const { registry, signatures } = settings;
  const [text = ''] = positionals;
  const explained = readExplained(text.replace(/^docker:\/\//, ''), registry, options.text('scheme'));
  const { platform, isAsked: isPlatformAsked } = readPlatform(options);
  const files = authFilePaths({ authFile: options.text('authfile'), environment, home: homedir() });
  const { insecure, insecureHosts, folders } = await readTls(options, registry.tls);
  const namespace = options.text('ns');
  const facts = await explainImage(explained, {
    policy: registry,
    credentials: {
      client: options.has('user') ? 'sent' : 'ignored',
      fixed: { ...registry.credentials, files: undefined },
      names: registry.credentialNames,
      // The user chooses the scheme, so that an entry may also serve plain http.
      placesOf: (host, repository) => placesFor(host, repository, { files, allowsPlainHttp: true }),
    },
    mirrors: { mirrors: registry.mirrors, mirrorAccounts: 'all' },
    namespace,
    tls: {
      insecure,
      insecureHosts,
      folders,
      options: CERTIFICATE_OPTIONS.filter((name) => options.has(name)).map(
        (name) => `--${name} ${options.text(name)}`,
      ),
    },
    signatures,
    platform,
    isPlatformAsked,
  });
  for (const message of warnings) await write(process.stderr, `${PROGRAM}: ${message}\n`);
  await print(`${policyLines(facts, 'commandLine').join('\n')}\n`);
  return facts.allowed ? 0 : exitCodeOf(new PassthroughError('REGISTRY_NOT_ALLOWED', 'It is not listed'));
}
