/** The clients of `soak.ts`: their requests, and the expected answers. */

import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { BuiltService } from '../../test/support/built-service.ts';
import { type Download, type DownloadOptions, download } from '../../test/support/download.ts';
import type { Chance } from '../../test/support/seeded.ts';
import { MOVING, type SoakRegistry } from './soak-registry.ts';

/** Paths of the archive of a repository's tag `1`. `{name}` is the repository in a file name. */
const FORMS = [
  '/docker/{name}_1.tar',
  '/docker-gzip/{name}_1.tar',
  '/oci/{name}_1.tar',
  '/docker/{name}_1.tgz',
] as const;

/** Requests without an archive, and their expected status. */
const WRONG: readonly (readonly [path: string, status: number])[] = [
  ['/docker/nothing.tar', 400],
  ['/docker/soak_none_1.tar', 502],
  ['/docker/soak_app0_none.tgz', 502],
  ['/oci/soak_moving_none.tar', 502],
  ['/platform/linux/nonsense/docker/soak_app0_1.tar', 400],
  ['/soak/none', 502],
  ['/health/', 404],
  ['/preparations/00000000-0000-4000-8000-000000000000', 404],
];

/** Longest time until a client leaves or cancels its preparation, in milliseconds. */
const LEAVE_MS = 60;

/** Longest pause of a slow client after 64 KiB, in milliseconds. */
const MAX_PAUSE_MS = 20;

/** Time between two status requests of a preparation, in milliseconds, and their number. */
const ASK_MS = 20;
const MAX_QUESTIONS = 1_000;

/** Most reported faults: a fault usually repeats thousands of times. */
const MAX_FAULTS = 20;

/** Archives by their entity tag: several for a tag that moves. */
type Versions = ReadonlyMap<string, Buffer>;

/** Several concurrent rows of clients; those of one row run one after the other. */
export class Clients {
  readonly #chance: Chance;
  readonly #archives: ReadonlyMap<string, Versions>;
  readonly #counts = new Map<string, number>();
  readonly faults: string[] = [];
  /** Complete answers, and answers that the client left early. */
  answers = 0;
  aborted = 0;

  private constructor(chance: Chance, archives: ReadonlyMap<string, Versions>) {
    this.#chance = chance;
    this.#archives = archives;
  }

  /**
   * Downloads the expected archives of each path.
   *
   * @param reference a service without a cache
   */
  static async prepare(reference: BuiltService, registry: SoakRegistry, chance: Chance): Promise<Clients> {
    const archives = new Map<string, Map<string, Buffer>>();
    for (const repository of [...registry.repositories, MOVING]) {
      const paths = FORMS.map((form) => form.replace('{name}', repository.replace('/', '_')));
      const versions = repository === MOVING ? registry.versions : 1;
      for (let version = 0; version < versions; version += 1) {
        for (const path of paths) {
          const { status, headers, body, isCut } = await reference.request(path);
          if (status !== 200 || isCut) throw new Error(`Cannot begin: ${path} gave ${status}: ${body}`);
          const known = archives.get(path) ?? new Map<string, Buffer>();
          archives.set(path, known.set(headers.etag ?? '', body));
        }
        if (repository === MOVING) registry.moveTag();
      }
    }
    return new Clients(chance, archives);
  }

  /** Number of clients by kind. */
  counts(): readonly (readonly [what: string, count: number])[] {
    return [...this.#counts].sort();
  }

  /** Runs a row of clients until the signal. */
  async run(service: BuiltService, signal: AbortSignal): Promise<void> {
    const chance = this.#chance;
    const kinds = [
      ...Array.from({ length: 6 }, () => () => this.#whole(service)),
      ...Array.from({ length: 4 }, () => () => this.#leaving(service)),
      ...Array.from({ length: 2 }, () => () => this.#slow(service)),
      ...Array.from({ length: 3 }, () => () => this.#range(service)),
      ...Array.from({ length: 2 }, () => () => this.#conditional(service)),
      ...Array.from({ length: 2 }, () => () => this.#prepare(service)),
      () => this.#head(service),
      () => this.#checksum(service),
      () => this.#wrong(service),
    ];
    while (!signal.aborted) {
      try {
        await chance.pick(kinds)();
      } catch (error) {
        this.#fault(error instanceof Error ? error.message : String(error));
      }
    }
  }

  async #whole(service: BuiltService): Promise<void> {
    const { path, versions } = this.#pick();
    this.#check('whole', path, versions, await this.#download(service, path), { status: 200 });
  }

  async #slow(service: BuiltService): Promise<void> {
    const { path, versions } = this.#pick();
    const options = { pauseMs: this.#chance.below(MAX_PAUSE_MS) };
    this.#check('slow', path, versions, await this.#download(service, path, options), { status: 200 });
  }

  /** Leaves before the header or within the body. The bytes so far must be right. */
  async #leaving(service: BuiltService): Promise<void> {
    const { path, versions, body } = this.#pick();
    const options =
      this.#chance.below(2) === 0
        ? { signal: AbortSignal.timeout(this.#chance.below(LEAVE_MS)) }
        : { leaveAfterBytes: this.#chance.below(body.length) };
    this.#check('leaving', path, versions, await this.#download(service, path, options), { status: 200 });
  }

  async #range(service: BuiltService): Promise<void> {
    const { path, versions, etag, body } = this.#pick();
    const from = this.#chance.below(body.length);
    const to = from + this.#chance.below(body.length - from);
    const headers = { Range: `bytes=${from}-${to}`, 'If-Range': etag };
    const answer = await this.#download(service, path, { headers });
    const isPart = answer.status === 206;
    if (isPart && answer.headers.etag !== etag) this.#fault(`range of ${path}: a part of another file`);
    if (isPart && answer.headers['content-range'] !== `bytes ${from}-${to}/${body.length}`) {
      this.#fault(`range of ${path}: Content-Range is ${answer.headers['content-range']}`);
    }
    // The whole archive is a valid answer only if the tag has moved.
    if (!isPart && answer.headers.etag === etag) this.#fault(`range of ${path}: the whole of the same file`);
    this.#check(
      'range',
      path,
      versions,
      answer,
      isPart ? { status: 206, from, to: to + 1 } : { status: 200 },
    );
  }

  async #conditional(service: BuiltService): Promise<void> {
    const { path, versions, etag } = this.#pick();
    const answer = await this.#download(service, path, { headers: { 'If-None-Match': etag } });
    if (answer.status === 200 && answer.headers.etag !== etag) {
      return this.#check('conditional, moved', path, versions, answer, { status: 200 });
    }
    this.#expect('conditional', path, answer, 304);
  }

  async #head(service: BuiltService): Promise<void> {
    const { path, versions } = this.#pick();
    const answer = await this.#download(service, path, { method: 'HEAD' });
    if (!this.#expect('HEAD', path, answer, 200)) return;
    const length = versions.get(answer.headers.etag ?? '')?.length;
    if (answer.headers['content-length'] !== `${length}`)
      this.#fault(`HEAD of ${path}: its length is not ${length}`);
  }

  async #checksum(service: BuiltService): Promise<void> {
    const { path, versions } = this.#pick();
    const answer = await this.#download(service, `${path}.sha256`);
    if (!this.#expect('.sha256', path, answer, 200)) return;
    const lines = [...versions.values()].map((body) => `${sha256(body)}  ${path.replace(/^.*\//, '')}\n`);
    if (!lines.includes(answer.text)) this.#fault(`.sha256 of ${path}: ${JSON.stringify(answer.text)}`);
  }

  async #wrong(service: BuiltService): Promise<void> {
    const [path, status] = this.#chance.pick(WRONG);
    this.#expect('wrong names', path, await this.#download(service, path), status);
  }

  async #prepare(service: BuiltService): Promise<void> {
    const { path } = this.#pick();
    const begun = await this.#download(service, `/prepare${path}`, { method: 'POST' });
    if (!this.#expect('POST /prepare', path, begun, 202)) return;
    const location = begun.headers.location ?? '';
    const isCancelled = this.#chance.below(2) === 0;
    if (isCancelled) {
      await delay(this.#chance.below(LEAVE_MS));
      const answer = await this.#download(service, location, { method: 'DELETE' });
      if (answer.status >= 300) this.#fault(`DELETE ${location}: ${answer.status} ${answer.text}`);
      this.#count('preparation cancelled');
      return;
    }
    for (let questions = 0; questions < MAX_QUESTIONS; questions += 1) {
      const { status, text } = await this.#download(service, location);
      const job: { readonly state?: string; readonly error?: { readonly code?: string } } =
        status === 200 ? JSON.parse(text) : {};
      if (job.state === 'done' || job.error?.code === 'BUSY') return this.#count(`preparation ${job.state}`);
      if (status !== 200 || job.state === 'failed' || job.state === 'cancelled') {
        return this.#fault(`preparation of ${path}: ${status} ${text}`);
      }
      await delay(ASK_MS);
    }
    this.#fault(`preparation of ${path}: it does not end`);
  }

  /** Picks an archive and one of its versions at random. */
  #pick() {
    const [path, versions] = this.#chance.pick([...this.#archives]);
    const [etag, body] = this.#chance.pick([...versions]);
    return { path, versions, etag, body };
  }

  async #download(service: BuiltService, path: string, options?: DownloadOptions): Promise<Download> {
    const answer = await download(service.port, path, options);
    if (answer.end === 'left') this.aborted += 1;
    else this.answers += 1;
    return answer;
  }

  /** Compares the received bytes with the archive of the entity tag. */
  #check(
    what: string,
    path: string,
    versions: Versions,
    answer: Download,
    { status, from = 0, to }: { readonly status: number; readonly from?: number; readonly to?: number },
  ): void {
    if (answer.end === 'left' && answer.status === 0) {
      this.#count(`${what}, before the header`);
      return;
    }
    if (!this.#expect(what, path, answer, status)) return;
    const body = versions.get(answer.headers.etag ?? '');
    if (body === undefined) {
      this.#fault(`${what} of ${path}: no such ETag ${answer.headers.etag}`);
      return;
    }
    const expected = body.subarray(from, answer.end === 'left' ? from + answer.bytes : (to ?? body.length));
    if (answer.bytes !== expected.length || answer.sha256 !== sha256(expected)) {
      this.#fault(`${what} of ${path}: wrong bytes, ${answer.bytes} from ${from} on`);
    }
  }

  /** @returns whether the answer has the expected status; `Busy` is not, but it is no fault either */
  #expect(what: string, path: string, { status, end, text, headers }: Download, expected: number): boolean {
    if (status === 503 && headers['retry-after'] !== undefined) {
      this.#count('busy');
      return false;
    }
    this.#count(what);
    if (status === expected && end !== 'cut') return true;
    this.#fault(`${what} of ${path}: ${end}, ${status}, not ${expected}: ${text.slice(0, 300)}`);
    return false;
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  #fault(fault: string): void {
    this.#count('FAULTS');
    if (this.faults.length < MAX_FAULTS) this.faults.push(fault);
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
