import type { Descriptor } from '../../image/descriptor.ts';
import type { Digest } from '../../image/digest.ts';
import {
  type IsWanted,
  MAX_REFERRERS,
  MAX_REFERRERS_BYTES,
  parseReferrers,
  type ReferrerList,
} from '../../registry/referrers.ts';
import type { Repository } from '../../registry/repository.ts';
import type { Content } from '../../util/content.ts';
import type { Documents } from '../../util/documents.ts';
import { DocumentFault, MAX_SIGNED_BYTES } from './strict-json.ts';

/** Most documents that are fetched for one image. An image with ten signatures by each of two tools takes 31. */
export const MAX_DOCUMENTS = 64;

/** Largest manifest of signatures, in bytes: one with 32 certificates and their chains has 300 KB. */
const MAX_MANIFEST_BYTES = 512 * 1024;

/** Where signatures are fetched from. */
export interface DocumentSource {
  /** Opened with the credentials that the image was resolved with, without a cache. */
  readonly repository: Repository;
  readonly documents: Documents;
  readonly signal: AbortSignal;
}

/** Fetches the documents around the signatures of one image. A hostile registry may offer any number of them, of any size. */
export class BoundedDocuments {
  readonly #source: DocumentSource;
  #left = MAX_DOCUMENTS;
  #isCut = false;

  constructor(source: DocumentSource) {
    this.#source = source;
  }

  /** Whether a document was left out because there were too many. */
  get isCut(): boolean {
    return this.#isCut;
  }

  /**
   * Fetches and reads a manifest.
   *
   * @throws DocumentFault for too many or too large documents; what `parse` and the repository throw
   */
  async manifest<T>(
    reference: string | Descriptor,
    parse: (bytes: Uint8Array) => T,
    maxBytes = MAX_MANIFEST_BYTES,
  ): Promise<T> {
    const { repository, documents, signal } = this.#source;
    if (typeof reference !== 'string') checkSize(reference, maxBytes);
    this.#count();
    const { content } = await repository.getManifest(reference, signal);
    return await held(content, async () => {
      checkSize(content, maxBytes);
      return await documents.use(content, 'a manifest of signatures', signal, parse);
    });
  }

  /** Fetches an index of referrers. @throws as {@link manifest} */
  index(tag: string, isWanted: IsWanted): Promise<ReferrerList> {
    const refuse = (why: string) => new DocumentFault(why);
    const parse = (bytes: Uint8Array) => parseReferrers(bytes, { most: MAX_REFERRERS, isWanted, refuse });
    return this.manifest(tag, parse, MAX_REFERRERS_BYTES);
  }

  /** Lists the referrers of a manifest; see `Repository.getReferrers`. */
  referrers(digest: Digest, isWanted: IsWanted): Promise<ReferrerList | undefined> {
    const { repository, signal } = this.#source;
    return repository.getReferrers(digest, isWanted, signal);
  }

  /** Fetches a payload or a bundle. @throws as {@link manifest} */
  async blob(descriptor: Descriptor): Promise<Uint8Array> {
    const { repository, signal } = this.#source;
    checkSize(descriptor, MAX_SIGNED_BYTES);
    this.#count();
    const content = await repository.getConfig(descriptor, signal);
    return await held(content, async () => Uint8Array.from(await content.readWhole()));
  }

  /** Counts a document before it is fetched. */
  #count(): void {
    this.#isCut ||= this.#left === 0;
    if (this.#isCut) throw new DocumentFault('it was not looked at');
    this.#left -= 1;
  }
}

/** Uses content, and releases it. */
async function held<T>(content: Content, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    content.release();
  }
}

function checkSize({ size }: { readonly size: number }, most: number): void {
  if (size > most) throw new DocumentFault(`it has ${size} bytes, more than ${most}`);
}
