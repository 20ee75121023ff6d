import type { MirrorSnapshot } from '../../registry/mirrors/mirror-health.ts';

/** Whether a mirror is asked, by the clock on the wall. */
export interface MirrorState {
  /** `probed`: the next request decides whether it is asked again. */
  readonly state: 'asked' | 'left-alone' | 'probed';
  /** Since when it fails, if it does, and until when it is left alone. ISO 8601. */
  readonly since: string | undefined;
  readonly until: string | undefined;
  readonly lastError: string | undefined;
}

const STATES = { closed: 'asked', open: 'left-alone', probing: 'probed' } as const;

/** Tells what is known of a mirror. */
export function mirrorState({ state, failures, downMs, waitMs, lastError }: MirrorSnapshot): MirrorState {
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();
  return {
    state: STATES[state],
    since: failures === 0 ? undefined : at(-downMs),
    until: waitMs === 0 ? undefined : at(waitMs),
    lastError,
  };
}
