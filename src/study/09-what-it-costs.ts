/**
 * 9. What it costs: how much does a visual token cost?
 *
 *     MACs of a layer, n tokens of width d, MLP of width m     4·n·d² + 2·n²·d + 3·n·d·m
 *     bytes of the caches, L layers                            2·L·n·d · (bytes of a number)
 *
 * A MAC is one multiplication and one addition, so FLOPs are twice as many. Q, K, V and the output take n·d² each, Q·Kᵀ and
 * A·V n²·d each (a kernel that skips what the causal mask hides does half of that), the MLP's three matrices n·d·m each.
 * Look for: attention's n² is what everybody speaks of. How much of the whole is it?
 */
import { cacheBytes, decoderLayerMacs, prefillMacs, visionMacs } from '../cost.ts';
import { agree, llava, percent, print } from './desk.ts';

// LLaVA-1.5-7B's decoder, and 60 tokens of text. Nothing of it is loaded: these are numbers on paper.
const [d, m, L, H, text] = [4096, 11008, 32, 32, 60];
const sizes = { hidden_size: d, intermediate_size: m, num_hidden_layers: L, num_attention_heads: H };
const config = { ...llava.config.text, ...sizes, num_key_value_heads: H, head_dim: d / H };

const parts = (n: number) => ({ projections: 4 * n * d * d, attention: 2 * n * n * d, mlp: 3 * n * d * m });
const layer = (n: number) => Object.values(parts(n)).reduce((sum, macs) => sum + macs, 0);
const n = text + 576;
print('a layer', layer(n) / 1e9, 'GMACs');
//> a layer  132  GMACs
await agree('decoderLayerMacs', [layer(n)], [decoderLayerMacs(config, n)]);
//> ✓  decoderLayerMacs
for (const [part, macs] of Object.entries(parts(n))) print(`  ${part}`, percent(macs / layer(n)));
//>   projections  32.3 %
//>   attention  2.5 %
//>   mlp  65.2 %

// So at these lengths the cost of reading is very nearly proportional to n, and so is what pruning saves.
const read = (visual: number) => L * layer(text + visual);
const cache = (visual: number) => 2 * L * (text + visual) * d * 2; // keys and values, 2 bytes a number
for (const visual of [576, 256, 128, 64]) {
  print(visual, 'tokens', (2 * read(visual)) / 1e12, 'TFLOPs', percent(read(visual) / read(576)));
  //> 576  tokens  8.45  TFLOPs  100.0 %
  //> 256  tokens  4.15  TFLOPs  49.1 %
  //> 128  tokens  2.45  TFLOPs  29.0 %
  //> 64  tokens  1.61  TFLOPs  19.1 %
}
const lengths = Array.from({ length: L }, () => text + 64);
await agree('prefillMacs', [read(64)], [prefillMacs(config, lengths)]);
//> ✓  prefillMacs
await agree('cacheBytes', [cache(64)], [cacheBytes(config, lengths, 2)]);
//> ✓  cacheBytes
const saved = read(576) - read(64);
print('a visual token', (2 * saved) / 512 / 1e9, 'GFLOPs', (cache(576) - cache(64)) / 512 / 2 ** 20, 'MiB');
//> a visual token  13.4  GFLOPs  0.5  MiB
print('caches', cache(576) / 2 ** 20, 'MiB, now', cache(64) / 2 ** 20, 'MiB');
//> caches  318  MiB, now  62  MiB

// The tower's bill stays: it has seen all 576 patches before one can be dropped. CLIP-L/14 at 336 pixels, 23
// layers. (The projector, left out, works for U tokens only.)
const sides = { image_size: 336, patch_size: 14 };
const tower = visionMacs(
  { ...llava.config.vision, hidden_size: 1024, intermediate_size: 4096, ...sides },
  23,
);
print(
  'tower',
  (2 * tower) / 1e12,
  'TFLOPs; with it 64 tokens cost',
  percent((read(64) + tower) / (read(576) + tower)),
);
//> tower  0.366  TFLOPs; with it 64 tokens cost  22.5 %

// And writing: a new token goes through every matrix, whatever the picture was; only its row of attention is shorter. So
// a long answer hardly gets cheaper. What gets smaller is its cache. A GPU reads that at every step, but 13 GB of weights too:
// 256 MiB less are 2 % of it. They tell where many prompts share one reading of the weights, or where prompts are long.
const step = (visual: number) => L * (4 * d * d + 2 * (text + visual) * d + 3 * d * m);
print('a written token, 64 of 576', percent(step(64) / step(576)));
//> a written token, 64 of 576  98.0 %
/*
 * MACs are not milliseconds: those depend on the machine, and belong on a clock. `npm start` measures them here.
 *
 * Exercises
 * 1. FastV cuts before layer k: layers 0 .. k − 1 hold 576 visual tokens, the others U. What does k = 2, U = 64 cost, and
 *    U = 1? How many tokens may VTC-CLS keep for the price of the first?
 * 2. At how many tokens is attention's n² half of a layer?
 */
