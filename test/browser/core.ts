/** The core in a page, as a page would use it: it fetches the weights, decodes a picture and computes on wasm. */
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { fetchFolder, guardHeap, setTraits, tf, wasmTraits, type Picture } from '../../src/index.ts';
import { answerQuestion, type Answered } from './answer.ts';

/** Of a page's own world, which the types of Node do not know. */
interface Drawable extends Record<'width' | 'height', number> {
  close(): void;
}
declare const createImageBitmap: (blob: Blob) => Promise<Drawable>;
declare const OffscreenCanvas: new (
  width: number,
  height: number,
) => {
  getContext(kind: '2d'): {
    drawImage(image: Drawable, x: number, y: number): void;
    getImageData(x: number, y: number, width: number, height: number): { data: Uint8ClampedArray };
  };
};

/** An opaque picture's RGB bytes. */
async function decodePicture(address: string): Promise<Picture> {
  const bitmap = await createImageBitmap(await (await fetch(address)).blob());
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d');
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  return { width, height, data: Uint8Array.from(rgba.filter((_, i) => i % 4 < 3)) };
}

/** Called by the test. */
async function answer(picture: string, question: string): Promise<Answered> {
  tf.env().set('PROD', true);
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false); // its worker does not start from a minified file
  setWasmPaths('/wasm/');
  if (!(await tf.setBackend('wasm'))) throw new Error('wasm does not start');
  setTraits('wasm', wasmTraits);
  guardHeap();
  return answerQuestion(fetchFolder('/weights'), await decodePicture(picture), question);
}

export type Page = { answer: typeof answer };
Object.assign(globalThis, { answer } satisfies Page);
