/** Programs that Debian 12 lacks: `scripts/check/sid-programs.sh node_modules/.cache/sid-programs` brings them. */
import { accessSync, constants } from 'node:fs';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { refuse } from './parts.ts';

const FOLDER = 'node_modules/.cache/sid-programs';

/** Where each program is in the folder. */
const PROGRAMS = {
  buildx: 'usr/libexec/docker/cli-plugins/docker-buildx',
  cosign: 'usr/bin/cosign',
  compose: 'usr/libexec/docker/cli-plugins/docker-compose',
  kubectl: 'usr/bin/kubectl',
} as const;

/** A program from Debian sid. */
export type SidProgram = keyof typeof PROGRAMS;

/** Path of a program. */
export function pathOfSidProgram(name: SidProgram): string {
  return fileURLToPath(new URL(`../../${FOLDER}/${PROGRAMS[name]}`, import.meta.url));
}

/** Whether all of `names` are there. Skips or fails as `requireParts` does. */
export function requireSidPrograms(t: TestContext, ...names: readonly SidProgram[]): boolean {
  const isThere = (name: SidProgram) => {
    try {
      accessSync(pathOfSidProgram(name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  };
  const missing = names.filter((name) => !isThere(name));
  return (
    missing.length === 0 ||
    refuse(t, `${missing.join(', ')} not found: scripts/check/sid-programs.sh ${FOLDER}`)
  );
}
