/** docs/errors.md has the errors of the code, and the addresses in problem documents lead to them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ERROR_TEXTS } from '../../scripts/docs/error-texts.ts';
import { errorsPage, textOf } from '../../scripts/docs/errors.ts';
import { type ErrorCode, PassthroughError } from '../../src/errors.ts';
import { formatJson, PROBLEMS, problemOf } from '../../src/http/problem.ts';
import { readPage } from './markdown.ts';

const page = await readPage('docs/errors.md');
const codes = Object.keys(PROBLEMS) as ErrorCode[];

describe('the text of', () => {
  for (const code of codes) {
    test(`${code} says what it means and what to do`, () => {
      const { means, remedy } = textOf(code, ERROR_TEXTS);
      assert.match(means, /^\S.{20,}\.$/);
      assert.match(remedy, /^\S.{10,}\.$/);
    });
  }

  test('no other code is there', () => {
    assert.deepEqual(Object.keys(ERROR_TEXTS).toSorted(), codes.toSorted());
  });

  test('a new code is asked for by its name, with what to do', () => {
    assert.throws(() => textOf('BUSY', {}), /BUSY.*error-texts\.ts.*npm run docs:errors/);
  });
});

test('the page is what npm run docs:errors writes', () => {
  assert.equal(page, errorsPage(page), 'docs/errors.md is out of date: npm run docs:errors');
  assert.throws(() => errorsPage('# Errors\n'), /Cannot find the marks/);
});

describe('the type of a problem document', () => {
  const typeOf = (code: ErrorCode) => {
    const body = formatJson(problemOf(new PassthroughError(code, 'the reason')), {
      requestId: 'the-id',
      image: undefined,
    });
    return new URL((JSON.parse(body) as { readonly type: string }).type);
  };

  for (const code of codes) {
    test(`${code} leads to its section`, () => {
      // GitHub and mkdocs both make the anchor of a heading of one word by lower case.
      const anchors = [...page.matchAll(/^### (\S+)$/gm)].map(([, heading = '']) => heading.toLowerCase());
      assert.equal(anchors.filter((anchor) => `#${anchor}` === typeOf(code).hash).length, 1);
    });
  }

  test('is in the repository of package.json', async () => {
    const { repository } = JSON.parse(await readPage('package.json')) as {
      readonly repository: { readonly url: string };
    };
    const { origin, pathname } = typeOf('BUSY');
    assert.equal(`git+${origin}${pathname}`, repository.url.replace(/\.git$/, '/blob/main/docs/errors.md'));
  });
});
