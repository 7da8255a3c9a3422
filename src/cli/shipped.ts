import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The models that come with the package, as paths that read well from the working folder. */
export const shippedLlava = locate('llava');
export const shippedClip = locate('clip');

/**
 * The CLIP whose text tower reads the question, for methods that want it: the one named, or that which comes with the
 * default model.
 */
export const clipFor = ({ model, clip }: { model: string; clip?: string }): string | undefined =>
  clip ?? (model === shippedLlava ? shippedClip : undefined);

function locate(name: string): string {
  const absolute = fileURLToPath(new URL(`../../weights/${name}`, import.meta.url)); // from src/cli and from dist/cli
  const relative = path.relative(process.cwd(), absolute);
  return relative.startsWith('..') ? absolute : relative;
}
