import { printable } from '../../util/printable.ts';
import type { Application } from '../application.ts';
import type { RequestContext } from '../request-context.ts';
import { sendText } from '../respond.ts';

/** Answers that the process serves. */
export async function handleHealth(context: RequestContext): Promise<void> {
  sendText(context, 200, 'ok\n');
}

/** Answers whether requests can be served: not while the service stops, or while its folder cannot be written. */
export async function handleReady(
  context: RequestContext,
  _: unknown,
  { images, isStopping }: Application,
): Promise<void> {
  if (isStopping) return sendText(context, 503, 'not ready: stopping\n');
  try {
    await images.probe();
    sendText(context, 200, 'ready\n');
  } catch (error) {
    sendText(
      context,
      503,
      `not ready: ${printable(error instanceof Error ? error.message : String(error))}\n`,
    );
  }
}
