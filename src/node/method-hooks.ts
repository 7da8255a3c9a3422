/**
 * What Node's module loader is told for the sake of a user's own method, wherever its file lies:
 *
 *     vtc-cls, vtc-cls/node, vtc-cls/testing   → the modules of the package that runs: one engine, one `Tensor`
 *     mine.ts, mine.mts                        → JavaScript, types replaced by spaces: lines and columns stay
 *
 * Node 22.18 and 24 strip types themselves, but not below node_modules, and some of them warn: this one does it on all alike.
 * The two functions serve `registerHooks`, which is synchronous, and `register`, which loads this file in a thread of its own.
 */
import { readFileSync } from 'node:fs';
import { createRequire, type LoadHookContext, type ResolveHookContext } from 'node:module';
import { fileURLToPath } from 'node:url';
import type * as Swc from '@swc/wasm-typescript';

const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'; // of src under tsx, of dist
const root = new URL('../..', import.meta.url).href;
const require = createRequire(import.meta.url);

const ours: Record<string, string> = {
  'vtc-cls': 'index',
  'vtc-cls/node': 'node',
  'vtc-cls/testing': 'testing',
};
const engine = '@tensorflow/tfjs-core';

type Next<Context, Result> = (specifier: string, context?: Partial<Context>) => Result;

export function resolve<Result>(
  specifier: string,
  context: ResolveHookContext,
  next: Next<ResolveHookContext, Result>,
): Result {
  if (Object.hasOwn(ours, specifier)) {
    return next(new URL(`../${ours[specifier]}${extension}`, import.meta.url).href, context);
  }
  return next(specifier, specifier === engine ? { ...context, parentURL: import.meta.url } : context);
}

export function load<Result>(
  url: string,
  context: LoadHookContext,
  next: Next<LoadHookContext, Result>,
): Result | { format: 'module'; source: string; shortCircuit: true } {
  const [address] = url.split(/[?#]/);
  const theirs = extension === '.js' || !address.startsWith(root); // tsx sees to what is in the repository
  if (!address.startsWith('file:') || !theirs) return next(url, context);
  const format = 'module';
  if (/\.m?ts$/.test(address)) return { format, source: stripTypes(address), shortCircuit: true };
  if ((context.format ?? undefined) === undefined && address.endsWith('.js')) {
    const source = readFileSync(fileURLToPath(address), 'utf8'); // no package.json says what it is
    if (/^\s*(import|export)\b/m.test(source)) return { format, source, shortCircuit: true };
  }
  return next(url, context);
}

function stripTypes(address: string): string {
  const { transformSync } = require('@swc/wasm-typescript') as typeof Swc;
  try {
    return transformSync(readFileSync(fileURLToPath(address), 'utf8'), { mode: 'strip-only' }).code;
  } catch (error) {
    const { message, startLine } = error as { message: string; startLine?: number }; // no Error
    throw new SyntaxError(startLine === undefined ? message : `${message}, in line ${startLine}`);
  }
}
