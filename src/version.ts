/** Version of the product. A test compares it with package.json. */
export const VERSION = '0.1.0';

/** Set by `scripts/build.ts`; the sources run without it. */
declare const BUILD_COMMIT: string | undefined;

/** The commit that the program was built from; `unknown` if it runs from its sources. */
export const COMMIT: string = typeof BUILD_COMMIT === 'undefined' ? 'unknown' : BUILD_COMMIT;
