import { keepSame } from './keep.ts';
import type { VisionMethod } from './method.ts';

/** No compression: every patch stays, whatever the budget. What every other method is measured against. */
export const none: VisionMethod = {
  name: 'none',
  paper: 'the uncompressed model',
  summary: 'keeps every patch',
  where: 'vision',
  defaults: {},
  help: {},
  asks: () => ({}),
  run(features) {
    const every = Array.from({ length: features.patches }, (_, patch) => patch);
    return Promise.resolve(keepSame(features, every));
  },
};
