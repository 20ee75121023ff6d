/** What every answer to a request that fails must be. */
import assert from 'node:assert/strict';
import { curl, textOf } from './curl.ts';

/** One request that fails. */
export interface Failure {
  readonly path: string;
  readonly args?: readonly string[];
  readonly status: number;
  /** What the contract calls it; undefined where it names a status alone. */
  readonly title?: string;
  /** What the body must tell. */
  readonly tells?: RegExp;
  readonly headers?: Readonly<Record<string, RegExp>>;
}

/** GET as text, GET as problem+json, and HEAD: one failure, three answers that agree. */
export async function assertFailure(directory: string, origin: string, failure: Failure): Promise<void> {
  const { path, args = [], status, title, tells = /./, headers = {} } = failure;
  const text = await curl(directory, origin + path, ...args);
  const body = await textOf(text);
  assert.equal(text.status, status, body);
  assert.match(text.headers.get('content-type') ?? '', /^text\/plain\b/);
  const [line = ''] = body.split('\n');
  assert.ok(line.startsWith(title ?? ''), `first line: ${line}`);
  // Printable ASCII: a switch's console shows nothing else.
  assert.match(line, /^[ -~]+$/);
  assert.match(body, tells);
  for (const [name, value] of Object.entries(headers)) {
    assert.match(text.headers.get(name) ?? '', value);
  }

  const json = await curl(directory, origin + path, ...args, '-H', 'Accept: application/problem+json');
  assert.equal(json.status, status);
  assert.match(json.headers.get('content-type') ?? '', /^application\/problem\+json\b/);
  const problem = JSON.parse(await textOf(json)) as Record<string, unknown>;
  assert.equal(problem['status'], status);
  assert.equal(typeof problem['title'], 'string');
  if (title !== undefined) {
    assert.equal(problem['title'], title);
  }
  assert.match(JSON.stringify(problem), tells);

  if (!args.includes('-X')) {
    const head = await curl(directory, origin + path, '-I', ...args);
    assert.equal(head.status, status);
    for (const name of ['content-type', 'content-length', 'www-authenticate', 'retry-after', 'allow']) {
      assert.equal(head.headers.get(name), text.headers.get(name), name);
    }
  }
}
