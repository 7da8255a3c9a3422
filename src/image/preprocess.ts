import { checkPixels, paste, type Picture, type Sides } from './picture.ts';
import type { PreprocessConfig } from './preprocess-config.ts';
import { resizeBicubic, sizeBetween } from './resize.ts';
import { chooseResolution, cutCrops, fittedSize } from './views.ts';

export * from './preprocess-config.ts';

/**
 * Make the vision tower's input of one picture, as transformers' CLIP and LLaVA image processors do on Pillow
 * 12.3 and NumPy: equal to the last bit of every float32.
 *
 * @returns pixels [S,S,3], row-major (the page convention NHWC without N; Hugging Face's are [3,S,S])
 * @throws UserError if a step would make a picture of more than 100 million pixels (a very thin one, enlarged)
 */
export function preprocess(picture: Picture, config: PreprocessConfig): Float32Array {
  checkSizes('a picture', picture, config);
  let image = picture;
  if (config.pad) image = padToSquare(image, meanColour(config));
  if (config.resize) {
    const { width, height } = resizedSize(image, config.resize);
    image = resizeBicubic(image, width, height);
  }
  if (config.crop) image = centreCrop(image, config.crop);
  return toFloats(image, config);
}

/**
 * All that the tower sees of a picture, one behind the other: the picture, or LLaVA-NeXT's thumbnail and crops.
 *
 * @returns pixels [V,S,S,3], V = 1 where nothing is cropped
 */
export function preprocessViews(picture: Picture, config: PreprocessConfig): Float32Array {
  const { pinpoints, resize } = config;
  if (!pinpoints || !resize || !('width' in resize)) return preprocess(picture, config);
  const whole = preprocess(picture, config); // the thumbnail
  const crops = cutCrops(picture, pinpoints, resize.width).map((crop) => preprocess(crop, config));
  const values = new Float32Array((1 + crops.length) * whole.length);
  for (const [v, view] of [whole, ...crops].entries()) values.set(view, v * whole.length);
  return values;
}

/**
 * Centre a picture on a square of one colour, side by side with its longer edge.
 * An odd leftover puts the extra row or column after the picture.
 */
export function padToSquare(picture: Picture, colour: [number, number, number]): Picture {
  const { width, height } = picture;
  const side = Math.max(width, height);
  const background = new Uint8Array(side * side * 3);
  for (let at = 0; at < background.length; at++) background[at] = colour[at % 3];
  const left = Math.floor((side - width) / 2);
  const top = Math.floor((side - height) / 2);
  return paste(picture, { width: side, height: side, data: background }, left, top);
}

/** LLaVA's background: the mean as bytes, rounded down. Without a mean, black. */
function meanColour({ normalize }: PreprocessConfig): [number, number, number] {
  const [r, g, b] = (normalize?.mean ?? [0, 0, 0]).map((mean) => Math.trunc(mean * 255));
  return [r, g, b];
}

/** What `resize` makes of a size. The long edge is rounded down. */
function resizedSize({ width, height }: Sides, target: NonNullable<PreprocessConfig['resize']>): Sides {
  if ('width' in target) return target;
  const edge = target.shortestEdge;
  const long = Math.floor((edge * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? { width: edge, height: long } : { width: long, height: edge };
}

/**
 * Refuse a picture by its size alone where a step of {@link preprocess} would make one of more than 100 million pixels.
 *
 * @param name - what the message calls the picture
 * @param size - after the orientation is applied
 * @throws UserError
 */
export function checkSizes(name: string, size: Sides, config: PreprocessConfig): void {
  const check = (step: string, { width, height }: Sides) =>
    checkPixels(`${name} of ${size.width} × ${size.height} pixels, ${step},`, width, height);
  const side = Math.max(size.width, size.height);
  const padded = config.pad ? { width: side, height: side } : size;
  check('padded to a square', padded);
  if (config.pinpoints) {
    const fitted = fittedSize(size, chooseResolution(size, config.pinpoints));
    check('resized along one axis', sizeBetween(size, fitted));
  }
  if (!config.resize) return;
  const resized = resizedSize(padded, config.resize);
  check('resized', resized);
  check('resized along one axis', sizeBetween(padded, resized));
}

/** The middle of a picture; where the picture is smaller than the crop, black around it. */
function centreCrop(picture: Picture, { width, height }: { width: number; height: number }): Picture {
  const left = -Math.floor((picture.width - width) / 2);
  const top = -Math.floor((picture.height - height) / 2);
  return paste(picture, { width, height, data: new Uint8Array(width * height * 3) }, left, top);
}

/** Bytes to float32: ((byte · rescale) - mean) / std, rounded to float32 after each operation as NumPy's are. */
function toFloats({ data }: Picture, { rescale, normalize }: PreprocessConfig): Float32Array {
  const round = Math.fround;
  // A byte has 256 values: work each of them out once, per channel.
  const table = new Float32Array(3 * 256);
  for (let c = 0; c < 3; c++) {
    for (let byte = 0; byte < 256; byte++) {
      let value = round(byte * (rescale ?? 1)); // the product itself is float64
      if (normalize) value = round(value - round(normalize.mean[c])) / round(normalize.std[c]);
      table[c * 256 + byte] = value; // rounds too
    }
  }
  const values = new Float32Array(data.length);
  for (let at = 0; at < data.length; at++) values[at] = table[(at % 3) * 256 + data[at]];
  return values;
}
