/** The auth file and the helper programs of a service, which live as long as the service does. */

import { PassthroughError } from '../../errors.ts';
import { BoundedMap } from '../../util/bounded-map.ts';
import type { WatchedFile, WatchedFiles } from '../../util/files/watched-files.ts';
import { SingleFlight } from '../../util/single-flight.ts';
import type { RegistryHost } from '../registry-host.ts';
import { type AuthFile, checkEntries, parseAuthFile } from './auth-content.ts';
import {
  type Environment,
  type FilePlace,
  filePlaces,
  lookUp,
  MAX_AUTH_FILE_BYTES,
  serverOf,
} from './auth-file.ts';
import { askHelper } from './credential-helper.ts';
import type { CredentialFiles, FoundCredentials } from './credentials.ts';

/** Longest run of a helper, in milliseconds: requests wait for it, and no person is there to unlock a key chain. */
const HELPER_TIMEOUT_MS = 20_000;

/**
 * How long an answer of a helper is used, in milliseconds. Clouds give credentials for an hour and more, and helpers give those that
 * they have, with a few minutes left.
 */
const ANSWER_MS = 300_000;

/** How long a helper is not asked again that has failed, has nothing, or has just given what a registry has refused. */
const PAUSE_MS = 10_000;

/** Most answers that are kept: one for each registry that the file lists. */
const MAX_ANSWERS = 1000;

/**
 * Variables that helpers get: where programs and files are, the way to the network, and what the helpers of clouds sign in with. The
 * service's own, among them its secrets, are none of them.
 */
const HELPER_VARIABLES =
  /^(?:PATH|HOME|USER|LOGNAME|TMPDIR|LANG|LC_\w+|TZ|XDG_\w+|DOCKER_CONFIG|SSL_CERT_(?:FILE|DIR)|(?:https?|no|all)_proxy|(?:AWS|AZURE|ACR|GOOGLE|GCR|CLOUDSDK|KUBERNETES|OCI)_\w+)$/i;

/** The environment of helper programs: those variables of the service that they may need. */
export function helperEnvironment(environment: Environment): Environment {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => HELPER_VARIABLES.test(name)));
}

/** What a helper has answered. */
type Answer = Awaited<ReturnType<typeof askHelper>>;

interface KeptAnswer {
  /** `undefined` if the helper has never answered. */
  readonly answer: { readonly value: Answer } | undefined;
  /** Why the last run failed. */
  readonly failure: PassthroughError | undefined;
  /** When the last run ended: one that takes too long must not be over when its pause begins. In milliseconds of `performance.now()`. */
  readonly endedAt: number;
}

/** Settings of {@link OperatorFiles}. */
export interface OperatorFilesOptions {
  readonly watched: WatchedFiles;
  /** The auth file, if there is one, and the variable that names it. */
  readonly authFile: { readonly name: string; readonly path: string } | undefined;
  /** Variables of the service; helpers get some of them. */
  readonly environment: Environment;
}

/**
 * Reads files as they are now, and keeps the answers of helpers for a while. A helper that fails has its last answer used.
 *
 * @see CredentialFiles
 */
export class OperatorFiles implements CredentialFiles {
  readonly #watched: WatchedFiles;
  readonly #authFile: WatchedFile<AuthFile> | undefined;
  readonly #path: string;
  readonly #environment: Environment;
  readonly #answers = new BoundedMap<string, KeptAnswer>({ maxCost: MAX_ANSWERS });
  readonly #runs = new SingleFlight<string, Answer>();
  /** Receives why a helper has failed; must not throw. */
  onHelperFailure: (message: string) => void = () => undefined;

  /** @throws PassthroughError `INVALID_CONFIGURATION` for an auth file that cannot be used */
  constructor({ watched, authFile, environment }: OperatorFilesOptions) {
    this.#watched = watched;
    this.#environment = helperEnvironment(environment);
    this.#path = authFile?.path ?? '';
    this.#authFile = authFile && watched.add({ ...authFile, maxBytes: MAX_AUTH_FILE_BYTES, parse });
  }

  async refresh(now: boolean): Promise<void> {
    await this.#watched.refresh(now);
  }

  lists(host: RegistryHost, repository: string | undefined): boolean {
    return this.places(host, repository).length > 0;
  }

  has(host: RegistryHost, repository: string | undefined): boolean {
    return this.places(host, repository).some(
      (place) =>
        place.type === 'file' ||
        isGiven(this.#answers.get(keyOf(place.program, serverOf(host)))?.answer?.value),
    );
  }

  /**
   * The places in the auth file where {@link find} looks, in their order. No helper program is run.
   *
   * @param repository `undefined` for any repository of the registry
   */
  places(host: RegistryHost, repository: string | undefined): readonly FilePlace[] {
    if (this.#authFile === undefined) return [];
    return filePlaces(this.#authFile.value, this.#path, host, repository, { isListOnly: true, fail: fault });
  }

  async find(
    host: RegistryHost,
    repository: string,
    signal: AbortSignal,
    isRefused: boolean,
  ): Promise<FoundCredentials | undefined> {
    if (this.#authFile === undefined) return undefined;
    return await lookUp(this.#authFile.value, host, repository, {
      environment: this.#environment,
      signal,
      isListOnly: true,
      fail: fault,
      ask: (name, server) => this.#ask(name, server, signal, isRefused),
    });
  }

  async #ask(name: string, server: string, signal: AbortSignal, isRefused: boolean): Promise<Answer> {
    const key = keyOf(`docker-credential-${name}`, server);
    const kept = this.#answers.get(key);
    const age = kept === undefined ? Number.POSITIVE_INFINITY : performance.now() - kept.endedAt;
    const isGood = isGiven(kept?.answer?.value) && kept?.failure === undefined;
    const isFresh = age < (isGood && !isRefused ? ANSWER_MS : PAUSE_MS);
    if (kept !== undefined && isFresh) return answerOf(kept);
    return await this.#runs.run(key, signal, async (running) => {
      const options = {
        environment: this.#environment,
        signal: running,
        timeoutMs: HELPER_TIMEOUT_MS,
        isUnattended: true,
      };
      try {
        const value = await askHelper(name, server, options);
        this.#answers.set(key, { answer: { value }, failure: undefined, endedAt: performance.now() });
        return value;
      } catch (error) {
        if (running.aborted || !(error instanceof PassthroughError)) throw error;
        this.onHelperFailure(error.message);
        const failed = { answer: kept?.answer, failure: error, endedAt: performance.now() };
        this.#answers.set(key, failed);
        return answerOf(failed);
      }
    });
  }
}

/** Key of what a program has answered about a registry. */
function keyOf(program: string, server: string): string {
  return `${program} ${server}`;
}

/** Whether an answer has credentials. */
function isGiven(answer: Answer): boolean {
  return typeof answer === 'object';
}

/** An answer that a helper has once given serves until it gives another. */
function answerOf({ answer, failure }: KeptAnswer): Answer {
  if (answer !== undefined) return answer.value;
  throw failure ?? new PassthroughError('INTERNAL', 'A helper has neither answered nor failed');
}

function fault(why: string): PassthroughError {
  return new PassthroughError('INVALID_CONFIGURATION', `Cannot use the auth file: ${why}`);
}

function parse(text: string): AuthFile {
  const fail = (why: string) => new Error(why);
  if (text.trim() === '') throw fail('it is empty');
  const file = parseAuthFile(text, fail);
  checkEntries(file, fail);
  return file;
}
