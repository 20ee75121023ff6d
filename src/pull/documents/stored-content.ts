import type { Store, Stored } from '../../storage/store.ts';
import { releaseChunk } from '../../streams/chunk.ts';
import { type Content, type ContentFile, contentOfFile } from '../../util/content.ts';
import type { SpoolFile } from '../../util/spool.ts';
import type { LayerReport } from '../progress.ts';

/** Content of a stored file. Takes over its lease. */
export function contentOfStored(file: Pick<Stored, 'size' | 'read' | 'release'>): Content {
  return contentOfFile(contentFile(file));
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
    read: (range) => file.read(range),
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
