/** A photograph that the visitor brings: its bytes, decoded by the browser. */
import type { Picture } from '../../image/picture.ts';
import { photo, trouble } from '../store.ts';

/** Larger pictures are made smaller first: the tower takes 80 × 80 pixels anyway. */
const most = 1024;

/** @throws Error for a file that is no picture */
export async function readPicture(file: File, longest = most): Promise<Picture> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} is no picture that this browser can read`);
  }
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((x) => Math.max(1, Math.round(x * scale)));
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext('2d')!;
  context.fillStyle = '#fff'; // where it is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) data.set(rgba.subarray(4 * i, 4 * i + 3), 3 * i);
  return { width, height, data };
}

/** Shows the chosen file in place of the scene; what cannot be read is said. */
export async function openPhoto(input: HTMLInputElement): Promise<void> {
  const file = input.files?.[0];
  input.value = '';
  if (!file) return;
  trouble.value = undefined;
  try {
    photo.value = await readPicture(file);
  } catch (error) {
    trouble.value = (error as Error).message;
  }
}
