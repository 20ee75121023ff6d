/** Longest part of a name that a message shows, in characters: a name may have 4 KiB, and a message is one line. */
const SHOWN_LENGTH = 200;

/** Characters that a console acts on or does not show: controls, and marks that change the direction of text. */
const UNPRINTABLE = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/**
 * Quotes a name from an archive for a message. The name may be hostile: what is not printable is escaped, and a long name is
 * cut.
 */
export function quoteName(name: string): string {
  const shown = name.length > SHOWN_LENGTH ? `${name.slice(0, SHOWN_LENGTH)}…` : name;
  return JSON.stringify(shown.toWellFormed()).replace(
    UNPRINTABLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
