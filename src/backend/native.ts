/**
 * Native TensorFlow: where `vtc setup-tensorflow` keeps what it built, and how that is loaded. The build lives outside
 * node_modules, so it survives `npm ci`; it uses this project's TensorFlow.js, so there is one core and one engine.
 */
import { readFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { homedir, totalmem } from 'node:os';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { messageOf, UserError } from '../errors.ts';
import { loadProducts, productsFile, useHalf } from './native-half.ts';
import { useOneDnn } from './native-kernels.ts';

export const nativePackage = { name: '@tensorflow/tfjs-node-gpu', version: '4.22.0' };
export type NativeDevice = 'cpu' | 'cuda';

/** What `ready.json` says of a build that was proved to work. */
export interface NativeBuild {
  device: NativeDevice;
  /** TensorFlow's own version, e.g. `2.21.0`. */
  tensorflow: string;
  /** Where its libraries came from. */
  libraries: string;
}

/** A native package that is loaded and registered as `tensorflow`. */
export interface LoadedNative {
  /** Package and version. */
  label: string;
  /** The build is CUDA's, so a GPU must be there. */
  needsGpu: boolean;
}

const require = createRequire(import.meta.url);

/** `$VTC_CLS_CACHE`, else `$XDG_CACHE_HOME/vtc-cls`, else `~/.cache/vtc-cls`. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const { VTC_CLS_CACHE: own, XDG_CACHE_HOME: xdg } = env;
  if (own) return path.resolve(own);
  // By the XDG specification a relative path there is to be ignored.
  return path.join(xdg && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.cache'), 'vtc-cls');
}

/** The folder of one build, under the cache folder. */
export const nativeFolder = (device: NativeDevice, env?: NodeJS.ProcessEnv): string =>
  path.join(cacheFolder(env), `tensorflow-${device}`);

/** The build in a folder; undefined where there is none that was finished. */
export function readNativeBuild(folder: string): NativeBuild | undefined {
  try {
    return JSON.parse(readFileSync(path.join(folder, 'ready.json'), 'utf8')) as NativeBuild;
  } catch {
    return undefined;
  }
}

/** Whether there is a build, or an installed package, that is worth trying. */
export const hasNative = (env?: NodeJS.ProcessEnv): boolean =>
  findDevice(env) !== undefined || findInstalled() !== undefined;

const findDevice = (env?: NodeJS.ProcessEnv): NativeDevice | undefined =>
  (['cuda', 'cpu'] as const).find((device) => readNativeBuild(nativeFolder(device, env)));

const findInstalled = (): string | undefined =>
  [nativePackage.name, '@tensorflow/tfjs-node'].find(isInstalled);

/**
 * Loads native TensorFlow, which registers it: the CUDA build if there is one, else the CPU build, else an installed
 * package. Both register one name, so the first that loads is the only one.
 * @throws Error with the reason and the command that mends it
 */
export function loadNative(): LoadedNative {
  const device = findDevice();
  let reason = '';
  if (device) {
    try {
      return requireBuild(nativeFolder(device), device);
    } catch (error) {
      if (error instanceof UserError) throw error;
      reason = `the build in ${nativeFolder(device)} does not load (${messageOf(error).split('\n')[0]}); `;
    }
  }
  const installed = findInstalled();
  if (installed === undefined || device === 'cuda') {
    const why = device === 'cuda' ? '' : 'neither @tensorflow/tfjs-node-gpu nor tfjs-node is installed; ';
    throw new Error(
      `${reason}${why}npm run setup:tensorflow${device === 'cuda' ? ' -- --cuda' : ''} builds it`,
    );
  }
  try {
    return requireNative(require, installed, false);
  } catch (error) {
    const loading = `${installed} does not load (${messageOf(error).split('\n')[0]})`;
    throw new Error(`${reason}${loading}; npm run setup:tensorflow builds one that does`, { cause: error });
  }
}

/** Loads the build in a folder, finished or not. */
export function requireBuild(folder: string, device: NativeDevice): LoadedNative {
  const from = createRequire(path.join(folder, 'package.json'));
  return requireNative(from, nativePackage.name, device === 'cuda', productsFile(bindingOf(folder)));
}

/** tfjs-node's binding to TensorFlow, in the folder of a build. */
export const bindingOf = (folder: string): string =>
  path.join(folder, 'node_modules', nativePackage.name, 'lib', 'napi-v8', 'tfjs_binding.node');

/** What CUDA is told before it is loaded. Kernels that it compiles for a GPU at the first start, for minutes, are kept. */
function prepareCuda(): void {
  process.env['TF_FORCE_GPU_ALLOW_GROWTH'] ??= 'true';
  process.env['CUDA_MODULE_LOADING'] ??= 'LAZY';
  process.env['CUDA_CACHE_PATH'] ??= path.join(cacheFolder(), 'cuda-kernels');
  process.env['CUDA_CACHE_MAXSIZE'] ??= String(2 ** 32);
}

/** @param products our own operations, compiled; see native-half.ts */
function requireNative(
  from: NodeJS.Require,
  name: string,
  needsGpu: boolean,
  products?: string,
): LoadedNative {
  if (needsGpu) prepareCuda();
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '3'; // no banner …
  process.env['TF_ENABLE_ONEDNN_OPTS'] ??= '0'; // … nor oneDNN's, which nothing else silences
  process.env['NVIDIA_TF32_OVERRIDE'] ??= '0'; // float32 means float32, also on GPUs that would round to TF32
  // Memory that was freed is used again. malloc gives large blocks back to the system, which then clears every page of
  // the next one: a softmax over 16 heads of 577×577 took 20 ms instead of 6.
  process.env['TF_CPU_ALLOCATOR_USE_BFC'] ??= '1';
  process.env['TF_CPU_BFC_MEM_LIMIT_IN_MB'] ??= String(Math.floor(totalmem() / 2 ** 20)); // by default 64 GiB
  // tfjs-node 4.22 calls util.isNullOrUndefined, which Node 23 removed.
  const util = require('node:util') as { isNullOrUndefined?: (x: unknown) => boolean };
  util.isNullOrUndefined ??= (x) => x === null || x === undefined;

  const native = withOurCore(() => from(name) as typeof tf);
  if (native.engine() !== tf.engine() || native.Tensor !== tf.Tensor) {
    throw new Error(`${name} brought a second copy of TensorFlow.js`);
  }
  useOneDnn();
  if (products) loadProducts(products);
  useHalf();
  const { version } = from(`${name}/package.json`) as { version: string };
  return { label: `${name} ${version}`, needsGpu };
}

type Resolve = (request: string, ...rest: unknown[]) => string;

/** Whatever is loaded meanwhile gets the parts of TensorFlow.js that we use too from us, not from beside itself. */
function withOurCore<T>(load: () => T): T {
  const node = Module as unknown as { _resolveFilename: Resolve };
  const resolve = node._resolveFilename;
  const shared = /^@tensorflow\/tfjs-(core|backend-cpu)(\/|$)/;
  const us = { id: import.meta.filename, filename: import.meta.filename, paths: require.resolve.paths('x') };
  node._resolveFilename = (request, parent, ...rest) =>
    resolve(request, shared.test(request) ? us : parent, ...rest);
  try {
    return load();
  } finally {
    node._resolveFilename = resolve;
  }
}

function isInstalled(name: string): boolean {
  try {
    require.resolve(name);
    return true;
  } catch {
    return false;
  }
}
