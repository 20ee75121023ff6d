/** The packages in a bundle, and the two files that their licenses ask for. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

/** A package that a bundle contains. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** SPDX expression of its package.json. */
  readonly license: string;
  /** Text of its license file; absent where the package ships none. */
  readonly licenseText: string | undefined;
  /** Text of its NOTICE file, where it ships one. */
  readonly notice: string | undefined;
}

/** Folder of the package that a file belongs to: `node_modules/@scope/name`, nested or not. */
const PACKAGE_FOLDER = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/;

const RULE = `\n${'-'.repeat(80)}\n\n`;

/**
 * Lists the packages in a bundle.
 *
 * @param metafile esbuild's account of the bundle
 * @param root folder that the paths in `metafile` start from
 * @returns each name and version once, sorted by name and version
 */
export async function bundledPackages(
  { inputs }: Metafile,
  root: string,
): Promise<readonly BundledPackage[]> {
  const folders = new Set(Object.keys(inputs).flatMap((path) => PACKAGE_FOLDER.exec(path)?.[0] ?? []));
  const packages = await Promise.all([...folders].map((folder) => readPackage(join(root, folder))));
  // npm may install one version in several places.
  const byTitle = new Map(packages.map((item) => [titleOf(item), item]));
  const titles = [...byTitle.keys()].sort();
  return titles.flatMap((title) => byTitle.get(title) ?? []);
}

/** `THIRD-PARTY-LICENSES.txt`: each license text once, below the packages that it covers. */
export function licensesText(packages: readonly BundledPackage[]): string {
  const byText = Map.groupBy(packages, ({ license, licenseText }) => licenseText ?? `License: ${license}`);
  return Array.from(byText, ([text, owners]) => `${owners.map(titleOf).join('\n')}\n\n${text}\n`).join(RULE);
}

/**
 * `NOTICE`: the packages with their licenses, and the NOTICE files that packages ship.
 *
 * @see https://www.apache.org/licenses/LICENSE-2.0#redistribution section 4(d): a NOTICE file goes along
 */
export function noticeText(packages: readonly BundledPackage[]): string {
  const list = packages.map((item) => `  ${titleOf(item)}  ${item.license}`).join('\n');
  const notices = packages.flatMap((item) =>
    item.notice === undefined ? [] : `${RULE}NOTICE of ${titleOf(item)}\n\n${item.notice}\n`,
  );
  return `docker-http-passthrough
Licensed under the Apache License, Version 2.0: see LICENSE.

The built program contains the packages below. Their license texts are in
THIRD-PARTY-LICENSES.txt, beside the program. "npm run build" writes this file.

${list}

It also contains the rules of the Public Suffix List, https://publicsuffix.org/list/, under the
Mozilla Public License 2.0, https://mozilla.org/MPL/2.0/.
${notices.join('')}`;
}

function titleOf({ name, version }: BundledPackage): string {
  return `${name} ${version}`;
}

async function readPackage(folder: string): Promise<BundledPackage> {
  const { name, version, license }: Partial<BundledPackage> = JSON.parse(
    await readFile(join(folder, 'package.json'), 'utf8'),
  );
  if (name === undefined || version === undefined || license === undefined) {
    throw new Error(`Cannot list ${folder}: its package.json lacks name, version or license`);
  }
  const entries = await readdir(folder);
  const textOf = async (names: RegExp) => {
    const entry = entries.find((candidate) => names.test(candidate));
    return entry === undefined ? undefined : (await readFile(join(folder, entry), 'utf8')).trim();
  };
  const licenseText = await textOf(/^licen[cs]e/i);
  return { name, version, license, licenseText, notice: await textOf(/^notice/i) };
}
