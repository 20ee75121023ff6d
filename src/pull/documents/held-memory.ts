import type { LayerForm } from '../../archive/layouts.ts';
import type { MemoryBudget, MemoryLease } from '../../util/memory-budget.ts';

/**
 * Memory that an archive holds for each of its layers while it is prepared and sent, in bytes: descriptor, lease of the file, name,
 * entries. Measured with ten archives of 990 layers each. Layout docker has four entries for a layer.
 */
export const LAYER_BYTES: Readonly<Record<LayerForm, number>> = {
  compressed: 2400,
  loadable: 2400,
  gzip: 3000,
  uncompressed: 3000,
};

/** Memory for the descriptors of a manifest, as a factor of its size: the shortest descriptor has 112 bytes, and takes 220. */
export const DESCRIPTORS_FACTOR = 2;

/**
 * Memory that any request may hold without a reservation, in bytes: that of an image with 127 layers, the most that engines take,
 * and usual documents. Five hundred clients with such images take 230 MB if each has another tag, and a tenth of that with usual ones.
 */
const FREE_BYTES = 448 * 1024;

/** Part of `bufferedBytes` for what requests hold while they send. It is apart, so that slow clients take nothing from the rest. */
const HELD_PART = 1 / 4;

/** Divides the memory for documents and decoders: what is held while archives are sent, and what is held for moments. */
export function divideMemory(bufferedBytes: number): { readonly held: number; readonly brief: number } {
  const held = Math.floor(bufferedBytes * HELD_PART);
  return { held, brief: bufferedBytes - held };
}

/**
 * Reserves what a request holds for long beyond what any request may.
 *
 * @param bytes all that it holds
 * @param reserved what of it is reserved already
 * @returns `undefined` if nothing has to be reserved
 * @throws as `MemoryBudget.reserve`
 */
export async function reserveHeld(
  memory: MemoryBudget,
  bytes: number,
  { what, signal, reserved = 0 }: { what: string; signal: AbortSignal; reserved?: number },
): Promise<MemoryLease | undefined> {
  const more = bytes - FREE_BYTES - reserved;
  return more > 0 ? await memory.reserve(more, what, signal) : undefined;
}
