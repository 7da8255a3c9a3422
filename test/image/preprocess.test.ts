import fc from 'fast-check';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { decodeImage } from '../../src/node/decode.ts';
import { checkSizes, clipPreprocess, padToSquare, preprocess } from '../../src/image/preprocess.ts';
import { readPreprocessConfig } from '../../src/node/checkpoint.ts';
import { openSafetensors } from '../../src/node/safetensors.ts';
import { at, mapPixels } from '../reference/bicubic.ts';
import {
  arbitraryPicture,
  fromBase64,
  makeFolder,
  readGolden,
  toPicture,
  type StoredPicture,
} from '../support/pictures.ts';

/** [3,S,S] → [S,S,3] */
function channelsLast(pixels: Float32Array, side: number): Float32Array {
  return pixels.map((_, i) => pixels[(i % 3) * side * side + Math.floor(i / 3)]);
}

interface Golden {
  pictures: Record<string, StoredPicture>;
  cases: { name: string; config: object; side: number; results: Record<string, string> }[];
}

describe("equals transformers' image processor to the last bit", async () => {
  const { pictures, cases } = await readGolden<Golden>('processor.json');

  test.each(cases)('$name', async ({ config, side, results }) => {
    const folder = await makeFolder();
    await writeFile(join(folder, 'preprocessor_config.json'), JSON.stringify(config));
    const read = await readPreprocessConfig(folder, side);
    for (const [name, result] of Object.entries(results)) {
      const expected = new Float32Array(fromBase64(result).buffer);
      expect(expected.length).toBe(side * side * 3);
      expect(preprocess(toPicture(pictures[name]), read), name).toEqual(expected);
    }
  });
});

const shared = join(import.meta.dirname, '../../../shared/fixtures/preprocess');
const absent = !existsSync(shared);
if (absent) console.warn('skipped: the preprocess fixtures are not beside this checkout');

describe.skipIf(absent)('equals the fixtures to the last bit', () => {
  test.each(['small', 'square', 'tall', 'wide'])('%s', async (name) => {
    const expected = await openSafetensors(join(shared, 'expected.safetensors'));
    const picture = await decodeImage(join(shared, `${name}.png`));
    for (const [key, side, pad] of [
      [`${name}.48`, 48, false],
      [`${name}.112`, 112, false],
      [`${name}.pad.112`, 112, true],
    ] as const) {
      const want = channelsLast(await expected.readFloat32(key), side);
      expect(preprocess(picture, clipPreprocess(side, pad)), key).toEqual(want);
    }
    await expected.close();
  });
});

describe('padToSquare', () => {
  test('keeps every pixel, centred, on the colour', () => {
    fc.assert(
      fc.property(arbitraryPicture(9), fc.nat(255), (picture, level) => {
        const colour: [number, number, number] = [level, 255 - level, level >> 1];
        const { width, height } = picture;
        const square = padToSquare(picture, colour);
        const side = Math.max(width, height);
        const left = Math.floor((side - width) / 2);
        const top = Math.floor((side - height) / 2);
        const expected = mapPixels(side, side, (x, y, c) => {
          const inside = x >= left && x < left + width && y >= top && y < top + height;
          return inside ? at(picture, x - left, y - top, c) : colour[c];
        });
        expect(square).toEqual(expected);
      }),
    );
  });
});

describe('preprocess', () => {
  test('the output is S × S × 3 numbers for any picture', () => {
    const side = fc.integer({ min: 1, max: 20 });
    fc.assert(
      fc.property(arbitraryPicture(12), side, fc.boolean(), (picture, size, pad) => {
        expect(preprocess(picture, clipPreprocess(size, pad)).length).toBe(size * size * 3);
      }),
    );
  });

  test('without resizing, the crop is the middle of the picture, on black', () => {
    const side = fc.integer({ min: 1, max: 9 });
    fc.assert(
      fc.property(arbitraryPicture(9), side, side, (picture, width, height) => {
        const config = { resize: null, crop: { width, height }, rescale: null, normalize: null, pad: false };
        const left = Math.floor((picture.width - width) / 2); // negative: this much black
        const top = Math.floor((picture.height - height) / 2);
        const expected = mapPixels(width, height, (x, y, c) => {
          const [u, v] = [x + left, y + top];
          const inside = u >= 0 && u < picture.width && v >= 0 && v < picture.height;
          return inside ? at(picture, u, v, c) : 0;
        });
        expect(preprocess(picture, config)).toEqual(Float32Array.from(expected.data));
      }),
    );
  });

  test.each([
    [1, 60000, false, '1 × 60000 pixels, resized, has 336 × 20160000 = 6773760000'],
    [60000, 1, true, '60000 × 1 pixels, padded to a square, has 60000 × 60000 = 3600000000'],
  ])('refuses %i × %i pixels, which would become enormous, padded: %s', (width, height, pad, words) => {
    const picture = mapPixels(width, height, () => 0);
    const action = () => preprocess(picture, clipPreprocess(336, pad));
    expect(action).toThrow(UserError);
    expect(action).toThrow(`a picture of ${words} pixels, more than the limit of 100000000`);
  });
});

describe('checkSizes', () => {
  const to = (width: number, height: number) => ({
    ...clipPreprocess(16),
    resize: { width, height },
    crop: null,
  });
  test.each([
    ['wide', 20_000_000, 5, to(16, 16), ''], // 16 × 5 on the way
    ['tall', 5, 20_000_000, to(16, 16), ''], // 5 × 16
    ['squat', 100_000, 1000, to(100_000_000, 1), 'resized along one axis, has 100000000 × 1000'],
    ['growing', 1, 1000, to(200_000, 1001), 'resized, has 200000 × 1001'],
  ])('%s: what lies between the two passes counts', (_, width, height, config, words) => {
    const action = () => checkSizes('a.png', { width, height }, config);
    if (words === '') expect(action).not.toThrow();
    else expect(action).toThrow(`a.png of ${width} × ${height} pixels, ${words} = `);
  });
});

describe('readPreprocessConfig', () => {
  async function readWith(files: Record<string, unknown>, imageSize = 224) {
    const folder = await makeFolder();
    for (const [name, value] of Object.entries(files)) {
      await writeFile(join(folder, name), typeof value === 'string' ? value : JSON.stringify(value));
    }
    return readPreprocessConfig(folder, imageSize);
  }
  const file = 'preprocessor_config.json';

  test("no file: CLIP's at the tower's size", async () => {
    expect(await readWith({}, 336)).toEqual(clipPreprocess(336));
    expect(await readWith({ 'processor_config.json': { patch_size: 14 } }, 336)).toEqual(clipPreprocess(336));
  });

  test("missing and null keys: CLIP's defaults", async () => {
    expect(await readWith({ [file]: {} })).toEqual(clipPreprocess(224));
    const nulls = { do_resize: null, size: null, crop_size: null, image_mean: null, do_pad: null };
    expect(await readWith({ [file]: nulls })).toEqual(clipPreprocess(224));
  });

  test('the file of openai/clip-vit-large-patch14-336', async () => {
    const published = {
      crop_size: 336,
      do_center_crop: true,
      do_normalize: true,
      do_resize: true,
      feature_extractor_type: 'CLIPFeatureExtractor',
      image_mean: [0.48145466, 0.4578275, 0.40821073],
      image_std: [0.26862954, 0.26130258, 0.27577711],
      resample: 3,
      size: 336,
    };
    expect(await readWith({ [file]: published }, 336)).toEqual(clipPreprocess(336));
  });

  test('the image_processor nested in processor_config.json comes first, as in transformers 5', async () => {
    const nested = { image_processor: { size: 48, crop_size: 48 }, processor_class: 'LlavaProcessor' };
    expect(await readWith({ 'processor_config.json': nested }, 48)).toEqual(clipPreprocess(48));
    const both = { 'processor_config.json': nested, [file]: { size: 32, crop_size: 32 } };
    expect(await readWith(both, 48)).toEqual(clipPreprocess(48));
  });

  test.each([{ do_pad: true }, { image_aspect_ratio: 'pad' }])('%o pads', async (keys) => {
    expect(await readWith({ [file]: keys })).toEqual(clipPreprocess(224, true));
  });

  test('steps can be left out', async () => {
    const off = { do_center_crop: false, do_rescale: false, do_normalize: false };
    const square = { size: 48, default_to_square: true };
    expect(await readWith({ [file]: { ...off, ...square } }, 48)).toEqual({
      resize: { width: 48, height: 48 },
      crop: null,
      rescale: null,
      normalize: null,
      pad: false,
    });
    // What is switched off is not read.
    const unread = { do_resize: false, resample: 2, size: 'x' };
    expect((await readWith({ [file]: unread })).resize).toBeNull();
  });

  test.each([
    [{}, 'makes 224 × 224 pixels, but the vision tower takes 336 × 336'],
    [{ crop_size: { height: 336, width: 224 } }, 'makes 224 × 336 pixels, but the vision tower takes'],
    [{ do_center_crop: false }, 'makes each picture its own number of pixels, but the vision tower takes'],
    [{ do_center_crop: false, do_pad: true }, 'makes 224 × 224 pixels, but the vision tower takes 336 × 336'],
    [{ resample: 2 }, 'resample must be 3 (bicubic), not 2'],
    [{ do_resize: 1 }, 'do_resize must be true or false, not 1'],
    [{ size: -3 }, 'size must be a whole number, {shortest_edge} or {height, width}, not -3'],
    [{ size: { shortest_edge: 336, longest_edge: 500 } }, 'size must be a whole number, {shortest_edge}'],
    [{ size: [336, 336] }, 'size must be a whole number, {shortest_edge} or {height, width}, not [336,336]'],
    [{ crop_size: { shortest_edge: 336 } }, 'crop_size must be a whole number or {height, width}, not'],
    [{ crop_size: 335.5 }, 'crop_size must be a whole number or {height, width}, not 335.5'],
    [{ rescale_factor: 0 }, 'rescale_factor must be a positive number, not 0'],
    [{ image_mean: [0.5, 0.5] }, 'image_mean must be three numbers, not [0.5,0.5]'],
    [{ image_mean: [0.5, 0.5, '0.5'] }, 'image_mean must be three numbers, not [0.5,0.5,"0.5"]'],
    [{ image_std: [0.5, 0, 0.5] }, 'image_std must be three positive numbers, not [0.5,0,0.5]'],
    [{ image_aspect_ratio: 'anyres' }, 'image_aspect_ratio must be "square" or "pad", not "anyres"'],
    [{ do_pad: true, do_normalize: false }, 'padding needs do_normalize, whose mean is its colour'],
    [
      { image_processor_type: 'LlavaOnevisionImageProcessor' },
      `image_processor_type must be CLIP's, LLaVA's or SigLIP's, not`,
    ],
  ])('refuses %j', async (config, words) => {
    const reading = readWith({ [file]: config }, 336);
    await expect(reading).rejects.toThrow(UserError);
    await expect(reading).rejects.toThrow(`${file}: ${words}`);
  });

  test.each([
    ['{"size": 336', 'is not JSON: '],
    ['[]', 'should hold a JSON object'],
    ['null', 'should hold a JSON object'],
    ['"336"', 'should hold a JSON object'],
  ])('refuses %s, which is not an object', async (text, message) => {
    await expect(readWith({ [file]: text })).rejects.toThrow(`${file} ${message}`);
    await expect(readWith({ [file]: text })).rejects.toThrow(UserError);
  });

  test('refuses a folder in place of the file', async () => {
    const folder = await makeFolder();
    await mkdir(join(folder, file));
    await expect(readPreprocessConfig(folder, 224)).rejects.toThrow(`${file}: it is a folder`);
  });
});
