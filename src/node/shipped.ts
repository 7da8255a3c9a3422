import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The models that come with the package: a CLIP, and LLaVAs whose tower is that CLIP's. The decoder of `llava` has seen
 * pictures of many lengths, that of `llava-fixed` always 100 tokens; `video` was trained on clips, for VideoLLM-MoD.
 * `llava-salient` has a tower of its own, whose captions named some of what there was.
 */
export type ShippedModel = 'llava' | 'llava-fixed' | 'llava-salient' | 'clip' | 'video';

/** The folder of a model that comes with the package, as a path that reads well from the working folder. */
export const shippedModel = (name: ShippedModel = 'llava'): string => shippedFolder(name);

/** The folder of all that was trained for this program, or one in it. */
export function shippedFolder(name = ''): string {
  const absolute = fileURLToPath(new URL(`../../weights/${name}`, import.meta.url)); // from src/node and from dist/node
  const relative = path.relative(process.cwd(), absolute);
  return relative.startsWith('..') ? absolute : relative;
}

/**
 * The CLIP whose text tower reads the question, for methods that want it: the one named, or that which comes with the
 * shipped models.
 */
export const clipFor = ({ model, clip }: { model: string; clip?: string }): string | undefined =>
  clip ??
  ((['llava', 'llava-fixed', 'video'] as const).some((name) => model === shippedModel(name))
    ? shippedModel('clip')
    : undefined);
