import { type MirrorRule, parseMirrorRules } from '../registry/mirrors/mirror-rules.ts';
import type { EnvironmentReader } from './environment.ts';

/**
 * Reads the mirrors of registries.
 *
 * @throws PassthroughError `INVALID_CONFIGURATION` naming variable, value and what is allowed
 */
export function readMirrors(read: EnvironmentReader): readonly MirrorRule[] {
  return read.parsed('REGISTRY_MIRRORS', '', parseMirrorRules);
}

/** One line for the log for each mirror whose word anyone on the way can change. */
export function mirrorWarnings(rules: readonly MirrorRule[] = []): readonly string[] {
  const urls = new Set(rules.flatMap(({ mirrors }) => mirrors.map(({ url }) => url)));
  return Array.from(urls)
    .filter((url) => url.startsWith('http:'))
    .map(
      (url) =>
        `REGISTRY_MIRRORS names ${url}, which is not encrypted: anyone on the way to it decides what a tag means`,
    );
}
