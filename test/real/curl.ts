/** `curl`, as a person at a shell or a switch would use it: body in a file, headers in another. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { exitWithin, type Running, start } from './parts.ts';

/** Longest that one transfer may take, in seconds. */
const MAX_TIME = 60;

/** A response that curl has read to its end. */
export interface Answer {
  /** 0 when curl had a whole response. */
  readonly exitCode: number | null;
  /** 0 when there was no response. */
  readonly status: number;
  readonly headers: Headers;
  /** Where the body is. */
  readonly file: string;
  readonly stderr: string;
}

/** A transfer that runs. */
export interface Transfer {
  /** Where the body is written, as it comes. */
  readonly file: string;
  readonly running: Running;
  readonly answer: Promise<Answer>;
}

let transfers = 0;

/** The last header block: curl writes one for each interim response too. */
function parseHeaders(text: string): Headers {
  const block =
    text
      .trim()
      .split(/\r?\n\r?\n/)
      .at(-1) ?? '';
  const fields = block.split(/\r?\n/).slice(1);
  return new Headers(
    fields.map((field): [string, string] => {
      const colon = field.indexOf(':');
      return [field.slice(0, colon), field.slice(colon + 1).trim()];
    }),
  );
}

/** Starts a transfer of `url` into `directory`; `args` are further arguments for curl. */
export function transfer(directory: string, url: string, ...args: readonly string[]): Transfer {
  transfers += 1;
  const file = join(directory, `body-${transfers}`);
  const headers = join(directory, `headers-${transfers}`);
  const output = ['-o', file, '-D', headers, '-w', '%{http_code}'];
  const running = start('curl', ['-q', '-sS', '--max-time', `${MAX_TIME}`, ...output, ...args, url]);
  const finish = async (): Promise<Answer> => {
    const exit = await exitWithin(running, (MAX_TIME + 5) * 1_000);
    return {
      ...{ exitCode: exit?.code ?? null, status: Number(running.stdout()), file, stderr: running.stderr() },
      headers: parseHeaders(await readFile(headers, 'utf8').catch(() => '')),
    };
  };
  const answer = finish();
  answer.catch(() => {});
  return { file, running, answer };
}

/** GETs `url` into a file in `directory`. */
export function curl(directory: string, url: string, ...args: readonly string[]): Promise<Answer> {
  return transfer(directory, url, ...args).answer;
}

/** The body as text. */
export function textOf(answer: Answer): Promise<string> {
  return readFile(answer.file, 'utf8').catch(() => '');
}

/** Bytes of a file; 0 when there is none. */
export async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => undefined))?.size ?? 0;
}

/** SHA-256 of a file, in hexadecimal. */
export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
