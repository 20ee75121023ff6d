import type { Description } from '../../storage/checked-file.ts';
import type { Store, Stored } from '../../storage/store.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { type Content, type ContentFile, contentOfFile } from '../../util/content.ts';
import type { SpoolFile } from '../../util/spool.ts';
import type { LayerReport } from '../progress.ts';

/** Bytes of a document that a reader holds: a block of the store. */
const STEP_BYTES = 64 * 1024;

/** No caller stops a copy: it takes milliseconds, and other callers use the file. */
const NEVER = new AbortController().signal;

/** Content of a stored file. Takes over its lease. */
export function contentOfStored(file: Pick<Stored, 'size' | 'read' | 'release'>): Content {
  return contentOfFile(contentFile(file));
}

/**
 * Makes all holders of equal content in files share one file.
 *
 * @param key equal keys mean equal content
 * @param content is taken over
 * @param description is stored with the file
 * @returns the content of the shared file, or `content` as it is: where it is in memory, or cannot be written
 */
export async function shareFile(
  store: Store<LayerReport>,
  key: string,
  content: Content,
  description: Description = {},
): Promise<Content> {
  return content.bytes === undefined ? await storeContent(store, key, content, description) : content;
}

/** Stores content, also if it is in memory; else as {@link shareFile}. */
export async function storeContent(
  store: Store<LayerReport>,
  key: string,
  content: Content,
  description: Description,
): Promise<Content> {
  try {
    const file = await store.obtain(key, {
      signal: NEVER,
      produce: async (draft) => {
        for await (const chunk of content.read()) {
          await draft.write(chunk);
          if (content.bytes === undefined) releaseChunk(chunk);
        }
        return description;
      },
    });
    content.release();
    return contentOfStored(file);
  } catch {
    return content;
  }
}

/** Creates a file in a store for a document whose digest is not known yet. */
export async function openSpoolFile(store: Store<LayerReport>): Promise<SpoolFile> {
  const draft = await store.createTemporary();
  return {
    write: draft.write,
    finish: async () => contentFile(await draft.finishTemporary()),
    abandon: () => draft.abandon(),
  };
}

function contentFile(file: Pick<Stored, 'size' | 'read' | 'release'>): ContentFile {
  return {
    size: file.size,
    // In small steps: a slow client holds one of them, and not a chunk as large as there is memory for at the start.
    async *read({ start, end } = { start: 0, end: file.size }) {
      for (let at = start; at < end; at += STEP_BYTES)
        yield* file.read({ start: at, end: Math.min(at + STEP_BYTES, end) });
    },
    readWhole: async () => {
      const bytes = Buffer.allocUnsafeSlow(file.size);
      let at = 0;
      for await (const chunk of file.read()) {
        bytes.set(chunk, at);
        at += chunk.byteLength;
        releaseChunk(chunk);
      }
      return bytes;
    },
    release: () => file.release(),
  };
}
