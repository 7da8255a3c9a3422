/** Solutions of chapter 4, why not trust one layer. */
import { readPictures } from '../../compress/host.ts';
import { scoreByCls } from '../../compress/score.ts';
import { keepTopK } from '../../compress/top-k.ts';
import { runClipVision } from '../../vision/clip.ts';
import { createScene, objectPatches } from '../../world/scene.ts';
import { check, llava, percent, pixelsOf, print } from '../desk.ts';

const scenes = Array.from({ length: 32 }, (_, b) => createScene('test', b));
const { clsAttention } = runClipVision(llava.vision, pixelsOf(...scenes), { clsAttention: [0, 1, 2, 3] });
const a: Float32Array[][] = []; // [layer][picture]
for (const l of [0, 1, 2, 3]) a.push(await readPictures('a', () => scoreByCls(clsAttention.get(l)!)));
const total = (x: Float32Array) => x.reduce((sum, value) => sum + value, 0);

/** Σ over the last K layers of a_l times a weight. */
const vote = (K: number, weigh: (x: Float32Array) => number) =>
  scenes.map((_, b) =>
    a[0][b].map((_, p) => a.slice(-K).reduce((sum, layer) => sum + layer[b][p] * weigh(layer[b]), 0)),
  );
const U = 25;
const changed = (one: Float32Array[], other: Float32Array[]) => {
  const [x, y] = [keepTopK(one, U), keepTopK(other, U)];
  return x.flatMap((row, b) => row.filter((p) => !y[b].includes(p))).length;
};

// 1. The mean is a third of the sum: all scores shrink alike, and no rank changes.
const sum = vote(3, () => 1);
print('sum or mean:', changed(sum, vote(3, () => 1 / 3)), 'of', 32 * U, 'changed'); // prettier-ignore
//> sum or mean:  0  of  800  changed
// Divided by its row's sum a layer speaks as loudly as the others. Undivided, the less [CLS] takes from itself in a layer, the
// louder that layer is.
const renormalised = vote(3, (x) => 1 / total(x));
print('renormalised:', changed(sum, renormalised), 'of', 32 * U, 'changed');
//> renormalised:  89  of  800  changed
for (const l of [0, 1, 2, 3]) print('layer', l, '[CLS] takes from itself', percent(1 - total(a[l][0])));
//> layer  0  [CLS] takes from itself  53.7 %
//> layer  1  [CLS] takes from itself  56.5 %
//> layer  2  [CLS] takes from itself  49.8 %
//> layer  3  [CLS] takes from itself  25.1 %
check('the mean changes nothing', changed(sum, vote(3, () => 1 / 3)) === 0); // prettier-ignore
//> ✓  the mean changes nothing
check('renormalising changes something', changed(sum, renormalised) > 0);
//> ✓  renormalising changes something
// Of one layer alone it would not: there all of a row is divided by one number.
check('but not of one layer', changed(vote(1, () => 1), vote(1, (x) => 1 / total(x))) === 0); // prettier-ignore
//> ✓  but not of one layer

// 2. Layer 0's [CLS] takes half from itself, as layers 1 and 2 do, so its vote counts as much as theirs, and less than layer 3's.
const on = scenes.map((scene) => objectPatches(scene, 8));
const found = (scores: Float32Array[]) => {
  const hits = keepTopK(scores, U).flatMap((row, b) => row.filter((p) => on[b][p])).length;
  return percent(hits / on.flat().filter(Boolean).length);
};
print('objects kept, K = 3', found(sum), 'K = 4', found(vote(4, () => 1))); // prettier-ignore
//> objects kept, K = 3  84.5 %  K = 4  86.0 %
print('renormalised', found(renormalised), found(vote(4, (x) => 1 / total(x)))); // prettier-ignore
//> renormalised  85.0 %  87.0 %
// On these scenes it even helps a little: what stands out from grey ground, layer 0 sees already. On photographs that need
// not be so. How many layers should vote is a question to the data; the method does not know.
