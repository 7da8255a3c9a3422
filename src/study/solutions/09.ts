/** Solutions of chapter 9, what it costs. */
import { prefillMacs } from '../../cost.ts';
import { agree, check, llava, percent, print } from '../desk.ts';

const [d, m, L, H, text] = [4096, 11008, 32, 32, 60];
const sizes = { hidden_size: d, intermediate_size: m, num_hidden_layers: L, num_attention_heads: H };
const config = { ...llava.config.text, ...sizes, num_key_value_heads: H, head_dim: d / H };
const layer = (n: number) => 4 * n * d * d + 2 * n * n * d + 3 * n * d * m;

// 1. k layers of all, L − k of few.
const fastv = (k: number, U: number) => k * layer(text + 576) + (L - k) * layer(text + U);
const uncut = L * layer(text + 576);
const lengths = Array.from({ length: L }, (_, l) => text + (l < 2 ? 576 : 64));
await agree('prefillMacs', [fastv(2, 64)], [prefillMacs(config, lengths)]);
//> ✓  prefillMacs
print('k = 2, U = 64', percent(fastv(2, 64) / uncut), 'U = 1', percent(fastv(2, 1) / uncut));
//> k = 2, U = 64  24.2 %  U = 1  15.0 %
// However little it keeps, two of 32 layers and the text are paid: it cannot go below.
check('there is a floor', fastv(2, 1) / uncut > 2 / 32);
//> ✓  there is a floor
const affordable = Array.from({ length: 576 }, (_, U) => U).filter(
  (U) => L * layer(text + U) <= fastv(2, 64),
);
print('VTC-CLS may keep', affordable.at(-1), 'for the price of k = 2, U = 64');
//> VTC-CLS may keep  96  for the price of k = 2, U = 64
// That is what a fair comparison holds equal: FLOPs or milliseconds, not U.

// 2. 2·n²·d = 4·n·d² + 3·n·d·m, so n = 2·d + 1.5·m.
const n = 2 * d + 1.5 * m;
print('half at n', n);
//> half at n  24704
await agree('half', [2 * n * n * d], [layer(n) / 2]);
//> ✓  half
// A picture of 576 tokens is far from that, a long video is not: there pruning saves more than its share of tokens.
check('at 576 + 60 it is a fortieth', (2 * 636 * 636 * d) / layer(636) < 1 / 39);
//> ✓  at 576 + 60 it is a fortieth
