/**
 * The page as files. From source, esbuild bundles it when it is first asked for; `scripts/build.ts` puts the finished files in place of
 * this module, so that a published program needs no esbuild.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { NO_CHOICE } from './choice.ts';
import { type PageCode, pageHtml } from './views/page.ts';

/** Code of the page, and the empty page in its encodings, as base64. */
export interface PageFiles extends PageCode {
  readonly gzip: string;
  readonly brotli: string;
}

/** Style sheets of the page, in their order. */
const STYLES = ['base', 'form', 'results'];

/** Browsers that run the script: those of 2024, which know `light-dark()` and everything that the script uses. */
const TARGET = ['chrome123', 'firefox121', 'safari17.5'];

/** Loads or makes the files. */
export async function loadPageFiles(): Promise<PageFiles> {
  const code = await bundlePage();
  const html = pageHtml({ ...code, choice: NO_CHOICE, result: { faults: [] }, origin: undefined });
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
  };
  const [zipped, brotli] = await Promise.all([
    promisify(gzip)(html, { level: constants.Z_BEST_COMPRESSION }),
    promisify(brotliCompress)(html, { params }),
  ]);
  return { ...code, gzip: zipped.toString('base64'), brotli: brotli.toString('base64') };
}

/** Bundles and minifies script and styles. */
export async function bundlePage(): Promise<PageCode> {
  const { build, transform } = await import('esbuild');
  const { outputFiles } = await build({
    absWorkingDir: import.meta.dirname,
    entryPoints: ['client/main.ts'],
    ...{ bundle: true, write: false, minify: true, charset: 'utf8', legalComments: 'none' },
    ...{ platform: 'browser', format: 'iife', target: TARGET, logLevel: 'warning' },
    // The short names of the same: esbuild does not know that they are.
    define: { 'Number.POSITIVE_INFINITY': 'Infinity', 'Number.NaN': 'NaN' },
  });
  const sheets = STYLES.map((name) => readFile(join(import.meta.dirname, 'style', `${name}.css`), 'utf8'));
  const css = (await Promise.all(sheets)).join('\n');
  const style = await transform(css, { loader: 'css', minify: true, target: TARGET });
  const script = outputFiles[0]?.text ?? '';
  return { script: script.trim(), style: style.code.trim() };
}
