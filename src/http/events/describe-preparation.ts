import type { Preparation } from '../../pull/preparations.ts';
import { problemOf } from '../problem.ts';

/** A preparation as JSON shows it. The JSON is the same in an answer and in an event. */
export function describePreparation({
  id,
  subject,
  state,
  progress,
  layerStatuses,
  startedAt,
  endedAt,
  error,
}: Preparation) {
  return {
    id,
    ...subject,
    state,
    ...progress,
    layerProgress: layerStatuses,
    startedAt: startedAt.toISOString(),
    endedAt: endedAt?.toISOString(),
    error: error === undefined ? undefined : describeError(error),
  };
}

/** An error as an answer with it would show it: `line` is the first line of its text. */
function describeError(cause: unknown) {
  const { status, title, detail, hints, error } = problemOf(cause);
  return {
    status,
    title,
    detail,
    code: error.code,
    line: `${title}: ${detail}`,
    hints: hints.length === 0 ? undefined : hints,
  };
}
