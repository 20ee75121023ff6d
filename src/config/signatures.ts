import { DEFAULT_OPTIONS } from '../pull/options.ts';
import { parseRepositoryPattern } from '../pull/signatures/repositories.ts';
import type { SignatureOptions } from '../pull/signatures/verifier.ts';
import { type EnvironmentReader, invalidVariable } from './environment.ts';

const { signatures: DEFAULTS } = DEFAULT_OPTIONS;

/** Variables that mean nothing without keys. To ignore one would leave open what its operator means to close. */
const RULES = ['SIGNATURE_REQUIRED_FOR', 'SIGNATURE_POLICY', 'SIGNATURE_MATCH_REPOSITORY'];

/**
 * Reads which images must be signed.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` naming variable, value and what is allowed
 */
export function readSignatures(read: EnvironmentReader): SignatureOptions {
  const keys = readList(read, 'SIGNATURE_KEYS', 'expected the path of a PEM file with a public key');
  const required = readList(
    read,
    'SIGNATURE_REQUIRED_FOR',
    'expected host/repository, such as ghcr.io/org/*',
  );
  const useless = keys === undefined ? RULES.find((name) => read.text(name) !== undefined) : undefined;
  if (useless !== undefined)
    throw invalidVariable(
      useless,
      read.text(useless) ?? '',
      'SIGNATURE_KEYS is not set, so no signature is verified',
    );
  return {
    keys: keys ?? DEFAULTS.keys,
    requiredFor:
      required?.map((one) => read.entry('SIGNATURE_REQUIRED_FOR', one, parseRepositoryPattern)) ??
      DEFAULTS.requiredFor,
    policy: read.choice('SIGNATURE_POLICY', ['enforce', 'warn'] as const, DEFAULTS.policy),
    matchRepository: read.choice('SIGNATURE_MATCH_REPOSITORY', ['yes', 'no'] as const, 'no') === 'yes',
  };
}

/** A list of texts with commas between them. One without any is refused: it looks as if it protected something. */
function readList(read: EnvironmentReader, name: string, expected: string): readonly string[] | undefined {
  const text = read.text(name);
  if (text === undefined) return undefined;
  const entries = text.split(',').map((entry) => entry.trim());
  const given = entries.filter((entry) => entry !== '');
  if (given.length === 0) throw invalidVariable(name, text, expected);
  return given;
}
