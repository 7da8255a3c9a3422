/** Solutions of chapter 6, projector and splice. */
import { spliceImage } from '../../decoder/splice.ts';
import { project } from '../../projector.ts';
import { ask, check, compressBy, distance, llava, pixelsOf, print, scene } from '../desk.ts';

const { decoder, projector } = llava;
const pixels = pixelsOf(scene);
const prompt = ask('what letter is there ?');

// 1. Original positions: W says which patch a token was, and that is where it stands.
const gaps = await compressBy('vtc-cls', pixels, { budget: 25, positions: 'original' });
const Z = project(projector, gaps.tokens);
const contiguous = spliceImage(decoder, [prompt], Z);
const original = spliceImage(decoder, [prompt], Z, gaps.places);
const [here, there] = [await contiguous.positions.data(), await original.positions.data()];
print('kept', gaps.kept![0].slice(0, 5), '…');
//> kept  2 5 6 7 9  …
print(
  'contiguous',
  here.slice(0, 7),
  '… the text after',
  here.slice(-6),
  'the answer',
  contiguous.nextPosition,
);
//> contiguous  0 1 2 3 4 5 6  … the text after  27 28 29 30 31 32  the answer  33
print(
  'original  ',
  there.slice(0, 7),
  '… the text after',
  there.slice(-6),
  'the answer',
  original.nextPosition,
);
//> original    0 1 4 7 8 9 11  … the text after  102 103 104 105 106 107  the answer  108
check('a patch stands behind the text before', there[2] === prompt.before.length + gaps.kept![0][0]);
//> ✓  a patch stands behind the text before
check('the answer is written where it would be uncut', original.nextPosition === 2 + 100 + 6);
//> ✓  the answer is written where it would be uncut
check('the rows are the same', (await distance(contiguous.hidden, original.hidden)) === 0);
//> ✓  the rows are the same
// T is 33 either way, and so is the cost; only the angles differ by which RoPE turns queries and keys (decoder/rope.ts).
// The README's table has both: original positions answer 4 points more at 25 tokens, for this decoder.

// 2. U = P: W is the identity.
const all = await compressBy('vtc-cls', pixels, { budget: 100 });
const none = await compressBy('none', pixels, { budget: 100 });
const [one, other] = [all, none].map(({ tokens }) =>
  spliceImage(decoder, [prompt], project(projector, tokens)),
);
print('X differs by', await distance(one.hidden, other.hidden));
//> X differs by  0
check('to the last bit', (await distance(one.hidden, other.hidden)) === 0);
//> ✓  to the last bit
// A method that merges has no such U: PruMerge's 100 tokens are not the picture's 100. It is the first thing to test.
