import { parseApplicationConfig } from '../../archive/iox/application-config.ts';
import { type IoxDescriptor, ioxDescriptor } from '../../archive/iox/descriptor.ts';
import type { Digest } from '../../image/digest.ts';
import type { Platform } from '../../image/platform.ts';
import type { Content } from '../../util/content.ts';
import { quoted } from '../../util/printable.ts';
import type { ArchiveRequest } from '../request.ts';
import type { ResolvePolicy } from '../resolve-archive.ts';

/** A verified config of an image. */
export interface DescribedConfig {
  readonly digest: Digest;
  readonly content: Content;
  readonly platform: Platform | undefined;
}

/**
 * Writes the descriptor of the image of a request.
 *
 * @throws PassthroughError `UNSUPPORTED_IMAGE`, see `ioxDescriptor`; what `Documents.use` throws
 */
export async function describe(
  { images: [image], sizing }: ArchiveRequest,
  { digest, content, platform }: DescribedConfig,
  { documents, iox }: Pick<ResolvePolicy, 'documents' | 'iox'>,
  signal: AbortSignal,
): Promise<IoxDescriptor> {
  const application = await documents.use(
    content,
    `config ${quoted(digest)}`,
    signal,
    parseApplicationConfig,
  );
  const name = image?.name ?? { registryName: '', repository: '' };
  return ioxDescriptor({ name, platform, application }, sizing, iox);
}
