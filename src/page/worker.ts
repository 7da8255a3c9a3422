/** The page's worker: it starts a backend, loads the model, and does what the page asks, one thing after another. */
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { expose } from 'comlink';
import { messageOf, UserError } from '../errors.ts';
import type { Picture } from '../image/picture.ts';
import { fetchFolder } from '../io/fetch-folder.ts';
import { setTraits } from '../tensor/traits.ts';
import { guardHeap, wasmTraits } from '../tensor/wasm-heap.ts';
import type { PageBackend } from './backends.ts';
import { openEngine, type Engine, type Facts, type How } from './engine/engine.ts';
import { memoryFolder } from './engine/memory-folder.ts';
import { openOwnClip, type OwnClip } from './engine/own-clip.ts';

/** Where the page's files are: at an address, or in the page itself. */
export interface Site {
  base: string;
  files?: Record<string, Blob>;
}

/** What there is in a model's folder; nothing else is asked for. */
const modelFiles = [
  'config.json',
  'generation_config.json',
  'model.safetensors',
  'preprocessor_config.json',
  'processor_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
];
const simd = 'tfjs-backend-wasm-simd.wasm';

let engine: Engine | undefined;
let ownClip: OwnClip | undefined;
let site: Site;

const model = () => {
  if (!engine) throw new UserError('the model is not there yet');
  return engine;
};

/** A folder of the site; its files are all known. */
function folderOf(name: string) {
  if (!site.files) return fetchFolder(`${site.base}${name}`, modelFiles);
  const begin = `${name}/`;
  const inside = Object.entries(site.files).filter(([file]) => file.startsWith(begin));
  return memoryFolder(name, new Map(inside.map(([file, blob]) => [file.slice(begin.length), blob])));
}

async function startBackend(name: PageBackend): Promise<void> {
  tf.env().set('PROD', true);
  if (name === 'webgl') {
    await import('@tensorflow/tfjs-backend-webgl');
    // float32 textures or nothing: half precision would give other answers than the page's own words say.
    if (!(await tf.setBackend('webgl')) || tf.env().getBool('WEBGL_RENDER_FLOAT32_ENABLED') === false)
      throw new UserError('this browser has no WebGL 2 with float32 textures');
    await tf.ready();
    watchContext();
    return;
  }
  if (name === 'webgpu') {
    await import('@tensorflow/tfjs-backend-webgpu');
    if (!(await tf.setBackend('webgpu'))) throw new UserError('this browser has no WebGPU');
    await tf.ready();
    return;
  }
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false); // threads want headers that a static host does not send
  if (!(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')))
    throw new UserError('this browser has no WebAssembly SIMD, which the model needs to run here');
  const binary = site.files?.[simd];
  const address = binary ? URL.createObjectURL(binary) : `${site.base}${simd}`;
  // It wants to know of all three; it takes the one with SIMD.
  setWasmPaths({
    'tfjs-backend-wasm.wasm': address,
    [simd]: address,
    'tfjs-backend-wasm-threaded-simd.wasm': address,
  });
  if (!(await tf.setBackend('wasm'))) throw new UserError('WebAssembly does not start in this browser');
  setTraits('wasm', wasmTraits);
  guardHeap();
}

/** What comes back: the value, or a sentence; a `fault` is not the visitor's doing. */
export interface Reply<T> {
  value?: T;
  failed?: string;
  fault?: boolean;
}

/** Comes where a graphics context is taken away, as it may be at any time: what is waited for then never comes. */
let contextLost = new Promise<never>(() => undefined);

function watchContext(): void {
  const { gl } = (tf.backend() as unknown as { gpgpu: { gl: WebGL2RenderingContext } }).gpgpu;
  contextLost = new Promise((_, reject) => {
    gl.canvas.addEventListener('webglcontextlost', () =>
      reject(new Error('the browser has taken the WebGL context away')),
    );
  });
  contextLost.catch(() => undefined); // told with the next answer
  Object.assign(globalThis, { loseContext: () => gl.getExtension('WEBGL_lose_context')?.loseContext() });
}

async function tell<T>(work: () => T | Promise<T>): Promise<Reply<T>> {
  try {
    return { value: await Promise.race([contextLost, work()]) };
  } catch (error) {
    return { failed: messageOf(error).split('\n')[0], fault: !(error instanceof UserError) };
  }
}

const api = {
  open: (where: Site, backend: PageBackend, onProgress: (share: number) => void) =>
    tell(async (): Promise<Facts> => {
      site = where;
      await startBackend(backend);
      engine = await openEngine(folderOf('weights/llava'), (done, total) => onProgress(done / total));
      return engine.facts;
    }),
  look: (picture: Picture) => tell(() => model().look(picture)),
  ask: (question: string, how: How, hurried?: boolean) => tell(() => model().ask(question, how, hurried)),
  inside: (question: string, how: How) => tell(() => model().inside(question, how)),
  explain: (layer: number, head: number, patch: number) => tell(() => model().explain(layer, head, patch)),
  unknownWords: (question: string) => tell(() => model().unknownWords(question)),
  addClip: () =>
    tell(async () => {
      await model().addClip(folderOf('weights/clip'));
      return true;
    }),
  openOwn: (files: Record<string, Blob>) =>
    tell(async () => {
      ownClip?.dispose();
      ownClip = undefined;
      ownClip = await openOwnClip(memoryFolder('your CLIP', new Map(Object.entries(files))));
      return ownClip.facts;
    }),
  lookOwn: (picture: Picture, K: number) =>
    tell(() => {
      if (!ownClip) throw new UserError('no CLIP was opened');
      return ownClip.look(picture, K);
    }),
  /** How many tensors there are: equal after a thousand runs, or something leaks. */
  numTensors: () => tell(() => tf.memory().numTensors),
};

/** What the page calls. */
export type Api = typeof api;
expose(api);
