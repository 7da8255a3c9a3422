/**
 * VQA's soft accuracy (Antol et al. 2015, arXiv 1505.00468; https://visualqa.org/evaluation.html): ten people answered
 * each question, and an answer is right as far as people gave it.
 *
 *     accuracy = mean over the ten, each left out in turn, of min(1, matches among the others / 3)
 *
 * Both sides are normalised first. The released Python leaves them as they are where all ten people agree; this follows
 * the page and the challenge's server, which normalise always: `Yes.` is a yes however many agree.
 */

/** @param people their answers; a single one counts as ten of the same */
export function vqaAccuracy(answer: string, people: readonly string[]): number {
  const said = normaliseAnswer(answer);
  const same = people.map((other) => normaliseAnswer(other) === said);
  if (same.length === 1) return Number(same[0]);
  const matches = same.filter(Boolean).length;
  const scores = same.map((mine) => Math.min(1, (matches - Number(mine)) / 3));
  return scores.reduce((sum, score) => sum + score, 0) / scores.length;
}

/** Punctuation, lower case, digits for number words, no articles, apostrophes where they were forgotten: in this order. */
export function normaliseAnswer(answer: string): string {
  const text = stripPunctuation(answer.replaceAll(/[\n\t]/g, ' ').trim());
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return words
    .map((word) => digits.get(word) ?? word)
    .filter((word) => !articles.has(word))
    .map((word) => contractions.get(word) ?? word)
    .join(' ');
}

/**
 * A mark beside a space vanishes wherever it stands, any other becomes a space; all vanish in a text with a comma between
 * digits. Of the periods only those before a digit stay.
 */
function stripPunctuation(text: string): string {
  const hasThousands = /\d,\d/.test(text);
  let stripped = text;
  for (const mark of ';/[]"{}()=+\\_-><@`,?!') {
    const vanishes = hasThousands || text.includes(`${mark} `) || text.includes(` ${mark}`);
    stripped = stripped.replaceAll(mark, vanishes ? '' : ' ');
  }
  return stripped.replaceAll(/\.(?!\d)/g, '');
}

const articles = new Set(['a', 'an', 'the']);

const digits = new Map([
  ['none', '0'],
  ...['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'].map(
    (word, digit) => [word, String(digit)] as const,
  ),
]);

/** Each contraction of VQA's list by what is left of it without one of its apostrophes: `dont`, `couldnt've`. */
const contractions = new Map(
  `ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
  how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't needn't not've o'clock
  oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
  someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
  they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
  where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
  y'all y'all'll y'all'd've you'd you'd've you'll you're you've`
    .split(/\s+/)
    .flatMap((word) =>
      [...word.matchAll(/'/g)].map(
        ({ index }) => [word.slice(0, index) + word.slice(index + 1), word] as const,
      ),
    ),
);
