import { PassthroughError } from '../errors.ts';
import { printable, quoted } from '../util/printable.ts';
import type { CommandCall } from './command.ts';
import { openImages, readImages } from './options/images.ts';
import { interruptible } from './output/interrupt.ts';
import { print } from './output/print.ts';

/** The `tags` command. */
export async function run(call: CommandCall): Promise<number> {
  const [repository = ''] = call.positionals;
  const last = repository.split('/').at(-1) ?? '';
  if (last.includes(':') || last.includes('@')) {
    throw new PassthroughError(
      'INVALID_REFERENCE',
      `Cannot list the tags of ${quoted(repository)}: expected a repository without tag and digest`,
    );
  }
  const named = readImages([repository], call);
  return await interruptible(async (signal) => {
    await using opened = await openImages(named, call, signal);
    const [image] = named.images;
    if (image === undefined) return 0;
    const content = await opened.service.tags(image, opened.call);
    try {
      const tags: readonly string[] = JSON.parse(Buffer.from(await content.readWhole()).toString('utf8'));
      return await print(tags.map((tag) => `${printable(tag)}\n`).join(''));
    } finally {
      content.release();
    }
  });
}
