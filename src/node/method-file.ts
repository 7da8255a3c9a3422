/** A user's own method, from a file wherever it lies: `--method ./mine.ts`. */
import { createHash } from 'node:crypto';
import * as module from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { checked, formatError } from '../compress/checked.ts';
import type { Method } from '../compress/method.ts';
import { faultOfMethod } from '../compress/method-shape.ts';
import { all, allTrained, findMethod, llavaSystems, methods, systems } from '../compress/registry.ts';
import type { ModelConfigs } from '../compress/trained/system.ts';
import { UserError } from '../errors.ts';
import { readWhole, reasonOf } from './files.ts';
import * as hooks from './method-hooks.ts';
import { loadSystem } from './systems.ts';

/** The model that methods are for, where systems that were trained are among them. */
export interface SystemSource {
  config: ModelConfigs;
  /** The folder of their weights; that of this program where left out. */
  weights?: string;
}

/**
 * Loads the files that names of methods name and the weights of systems that were trained, and finds methods by name from
 * then on.
 * @param names as the command line takes them: `./mine.ts`, `vtc-cls+./mine.ts`, `mine.ts:layers=1`, `dyvte`
 * @throws UserError for a file that holds no method, or weights that are not for the model
 */
export async function methodFinder(
  names: readonly string[],
  { config, weights }: Partial<SystemSource> = {},
): Promise<(name: string) => Method> {
  const own = new Map<string, Method>();
  for (const file of names.flatMap(filesIn)) {
    if (!own.has(file)) own.set(file, await loadMethodFile(file));
  }
  const wanted = new Set(names.flatMap((name) => name.trim().split(':')[0].split('+')));
  for (const system of config ? systems : []) {
    if (!wanted.has(system.name) && !(wanted.has(allTrained) && llavaSystems.includes(system))) continue;
    own.set(system.name, await loadSystem(system, config!, weights));
  }
  return (name) => findMethod(name, own);
}

/** The files in a name: a `+` may stand in a path, but not in one's ending. */
export function filesIn(name: string): string[] {
  const [stack] = name.trim().split(':');
  const parts = stack.matchAll(/(?:^|\+)(\.{0,2}\/.*?\.m?[tj]s(?=\+|$)|[^+]*)/g);
  return [...parts].map(([, part]) => part).filter((part) => /^\.{0,2}\/|\.m?[tj]s$/.test(part));
}

/**
 * The method that a file exports: its default export, or the only one that is one. It is checked as it runs.
 * @throws UserError naming the file and what is wrong with it
 */
export async function loadMethodFile(file: string): Promise<Method> {
  const refuse = (why: string) => new UserError(`${file}: ${why}`);
  if (!/\.m?[tj]s$/.test(file)) throw refuse('the file of a method ends in .ts, .mts, .js or .mjs');
  const digest = await digestFiles(file);
  const method = chooseExport(await importFile(file), refuse);
  const fault = faultOfMethod(method);
  if (fault) throw refuse(fault);
  const { name } = method as Method;
  if ([all, allTrained].includes(name) || [...methods, ...systems].some((other) => other.name === name)) {
    throw refuse(`its method is called ${name}, which is taken: give it a name of its own`);
  }
  return checked({ ...bound(method as Method), digest }, file);
}

/** With what a class may have given it too. */
const bound = (method: Method): Method => ({ ...method, prepare: (...all) => method.prepare(...all) });

function chooseExport(exported: Record<string, unknown>, refuse: (why: string) => UserError): unknown {
  if (exported['default'] !== undefined) return exported['default'];
  const isMethod = (x: unknown) => typeof x === 'object' && x !== null && 'prepare' in x;
  const found = Object.keys(exported).filter((name) => isMethod(exported[name]));
  if (found.length === 1) return exported[found[0]];
  if (found.length === 0) throw refuse('exports no method: export default { name, paper, summary, … }');
  throw refuse(`exports ${found.length} methods, ${found.join(' and ')}: make one of them the default`);
}

async function importFile(file: string): Promise<Record<string, unknown>> {
  registerHooks();
  const url = pathToFileURL(path.resolve(file)).href;
  try {
    return (await import(url)) as Record<string, unknown>;
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${file}: ${error.message}`);
    throw new UserError(`${file} cannot be loaded: ${formatError(error, file)}`);
  }
}

let registered = false;
function registerHooks(): void {
  if (registered) return;
  registered = true;
  const { registerHooks: inThisThread } = module as { registerHooks?: (functions: object) => void };
  if (inThisThread) inThisThread({ resolve: hooks.resolve, load: hooks.load });
  else module.register(new URL(`method-hooks${path.extname(import.meta.url)}`, import.meta.url));
}

/** A short hash of a file, and of those beside it that it imports. */
async function digestFiles(file: string): Promise<string> {
  const hash = createHash('sha256');
  const all = new Set([pathToFileURL(path.resolve(file)).href]);
  for (const url of all) {
    const bytes = await readWhole(fileURLToPath(url)).catch((error: unknown) => {
      if (all.size === 1) throw new UserError(`cannot read ${file}: ${reasonOf(error)}`);
      return Buffer.of(); // whoever imports it will say that it is not there
    });
    hash.update(`${bytes.length}\n`).update(bytes);
    for (const [, relative] of bytes
      .toString()
      .matchAll(/\b(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g)) {
      all.add(new URL(relative, url).href);
    }
  }
  return hash.digest('hex').slice(0, 8);
}
