import { describe, expect, test } from 'vitest';
import { cacheBytes, decoderLayerMacs, prefillMacs, visionMacs } from '../src/cost.ts';
import { parseDecoderConfig } from '../src/decoder/config.ts';
import { parseClipVisionConfig } from '../src/vision/config.ts';

const llama7b = parseDecoderConfig({}, 'config.json');
const clipLarge336 = parseClipVisionConfig(
  {
    hidden_size: 1024,
    intermediate_size: 4096,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    image_size: 336,
    patch_size: 14,
  },
  'config.json',
);
const every = (n: number): number[] => Array<number>(32).fill(n);

describe('cost on paper, against published figures', () => {
  // TMAC of LLaVA-1.5-7B's visual tokens alone, by FastV's formula with the gated FFN's factor 3.
  test.each([
    [576, 3.817],
    [256, 1.675],
    [192, 1.253],
    [128, 0.833],
    [64, 0.4155],
  ])('%d visual tokens: %f TMAC', (tokens, tmac) => {
    expect(prefillMacs(llama7b, every(tokens)) / 1e12).toBeCloseTo(tmac, 3);
  });

  test.each([
    [256, 49.1],
    [192, 39.0],
    [128, 29.0],
    [64, 19.1],
  ])('with 60 text tokens, %d cost %f %% of 576', (tokens, percent) => {
    const share = prefillMacs(llama7b, every(60 + tokens)) / prefillMacs(llama7b, every(636));
    expect(100 * share).toBeCloseTo(percent, 1);
  });

  test('a token of a 7B in fp16 takes 0.5 MiB of cache', () => {
    expect(cacheBytes(llama7b, every(1), 2)).toBe(2 ** 19);
  });

  test('CLIP-L/336 is 7.94 GMAC a layer', () => {
    expect((visionMacs(clipLarge336, 2) - visionMacs(clipLarge336, 1)) / 1e9).toBeCloseTo(7.94, 2);
  });

  test('a coarser picture costs what a tower of that size would', () => {
    const half = { ...clipLarge336, image_size: 168 };
    expect(visionMacs(clipLarge336, 23, 12)).toBe(visionMacs(half, 23));
    expect(visionMacs(clipLarge336, 23, 24)).toBe(visionMacs(clipLarge336, 23));
    expect(visionMacs(half, 23) / visionMacs(clipLarge336, 23)).toBeCloseTo(0.24, 2); // less than 144 of 576: attention
  });

  test('grouped queries save key and value projections', () => {
    const grouped = { ...llama7b, num_key_value_heads: 8 };
    expect(decoderLayerMacs(llama7b, 1) - decoderLayerMacs(grouped, 1)).toBe(2 * 4096 * (4096 - 1024));
  });
});
