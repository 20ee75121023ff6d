import { createHash } from 'node:crypto';
import { legacySettings } from '../../archive/docker-layout.ts';
import { PassthroughError } from '../../errors.ts';
import { type Digest, isDigest } from '../../image/digest.ts';
import type { Store } from '../../storage/store.ts';
import { type Content, contentOfBytes } from '../../util/content.ts';
import type { Documents } from '../../util/documents.ts';
import { quoted } from '../../util/printable.ts';
import type { LayerReport } from '../progress.ts';
import type { VerifiedConfig } from './fetch-config.ts';
import { contentOfStored } from './stored-content.ts';

/** Settings of an image as the legacy descriptions of layout docker repeat them. */
export interface StoredSettings {
  /** Of their bytes. */
  readonly digest: Digest;
  /** The holder must release it. */
  readonly content: Content;
}

/**
 * The settings of a config. Those of a large config are written to a file, which all archives of the config share.
 *
 * @throws PassthroughError `UNSUPPORTED_IMAGE`, see `legacySettings`; what the store and `Documents.use` throw
 */
export async function settingsOf(
  { digest, content }: VerifiedConfig,
  store: Store<LayerReport>,
  documents: Documents,
  signal: AbortSignal,
): Promise<StoredSettings> {
  if (content.bytes !== undefined) {
    const bytes = legacySettings(content.bytes);
    return { digest: digestOf(bytes), content: contentOfBytes(bytes) };
  }
  const file = await store.obtain(`legacy-settings ${digest}`, {
    signal,
    produce: (draft, working) =>
      documents.transform(content, `settings of config ${quoted(digest)}`, working, {
        use: legacySettings,
        write: async (bytes) => {
          await draft.write(bytes);
          return { sha256: digestOf(bytes) };
        },
      }),
  });
  const { sha256 } = file.description;
  if (isDigest(sha256)) return { digest: sha256, content: contentOfStored(file) };
  file.release();
  throw new PassthroughError('INTERNAL', 'Cannot use a stored file of settings: it has no digest');
}

function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
