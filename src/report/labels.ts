import { createRequire } from 'node:module';
import type { Picture } from '../image/picture.ts';
import { loadSharp } from '../node/sharp.ts';

const font = createRequire(import.meta.url).resolve('dejavu-fonts-ttf/ttf/DejaVuSans.ttf');

/**
 * A line of text as a picture, dark on white, in a font that ships with the package.
 * @param width pixels; longer text is made smaller
 */
export async function drawLabel(text: string, width: number, height: number): Promise<Picture> {
  const escaped = text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]!);
  const rendered = { text: escaped, font: 'DejaVu Sans 11', fontfile: font, rgba: true, dpi: 96 };
  const sharp = await loadSharp();
  const line = await sharp({ text: rendered })
    .resize(width - 8, height - 8, { fit: 'inside', withoutEnlargement: true })
    .png()
    .toBuffer();
  const { data } = await sharp({ create: { width, height, channels: 3, background: 'white' } })
    .composite([{ input: line, gravity: 'west' }])
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width, height, data };
}
