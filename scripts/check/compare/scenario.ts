/** What a scenario of the comparison is, and words that several of them use. */

import type { EnvironmentOf } from './side.ts';
import type { Visit } from './visit.ts';
import type { WorldOptions } from './world.ts';

/** Requests that are made to a service of each side, in this order, by the same client. */
export interface Scenario extends WorldOptions {
  readonly name: string;
  /** Variables of the service, beside `REGISTRY_URL`. */
  readonly env?: EnvironmentOf;
  /** Whether nothing is served, so that no service is started. */
  readonly isWithoutService?: boolean;
  /** Whether transfers break on purpose, so that their sizes are chance. */
  readonly hasUnevenBytes?: boolean;
  readonly run: (visit: Visit) => Promise<void>;
}

/** An archive that several scenarios ask for, of an image with a layer for each of its many platforms and a shared one. */
export const APP = '/docker/team_app_1.tar';

/** The same of an image with one layer: nothing runs beside its download, so that each failure is the same each time. */
export const ONE = '/docker/team_one_1.tar';

/** Names of the layouts. */
export const LAYOUTS = ['docker', 'docker-gzip', 'oci'] as const;

/** Endings of an archive's name. */
export const ENDINGS = ['tar', 'tar.gz', 'tgz'] as const;

/** What asks for a checksum. */
export const CHECKSUMS = ['sha256', 'sha512', 'md5'] as const;

/** The words of a text, which may go over several lines. */
export function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** The value of `Authorization` for Basic. */
export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** Headers with credentials that the registries take, and with some that they refuse. */
export const RIGHT = { headers: { authorization: basic('user', 'secret') } };
export const WRONG = { headers: { authorization: basic('user', 'hunter2') } };

/** Asks for a problem document. */
export const JSON_PLEASE = { headers: { accept: 'application/problem+json' } };
