import { expect, test } from 'vitest';
import { parseDecoderConfig } from '../../src/decoder/config.ts';
import { mostTogether } from '../../src/eval/run/answer.ts';

const sevenB = parseDecoderConfig({ vocab_size: 32064 }, 'test'); // what is left out is LLaMA-7B's
const small = parseDecoderConfig(
  { hidden_size: 128, num_hidden_layers: 4, num_attention_heads: 4, intermediate_size: 352 },
  'test',
);

test.each([
  [sevenB, 640, 3], // 640 MiB of keys and values each
  [sevenB, 128, 16],
  [sevenB, 30_000, 1],
  [small, 120, 64],
])('so many questions are asked at once that their keys and values fit: %#', (config, tokens, expected) => {
  expect(mostTogether(config, tokens)).toBe(expected);
});
