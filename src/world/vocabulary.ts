import { clipWords } from './clip-questions.ts';
import { counts } from './questions.ts';
import { colourNames, letters, mostShapes, quadrants, shapes, sizeNames } from './things.ts';

const questionWords =
  'what color shape size letter is are the a there object shapes where how many left right above below or of';

/** Every word of captions, questions and answers. */
export const worldWords: readonly string[] = [
  ...['?', ',', 'yes', 'no', ...counts, ...questionWords.split(' ')],
  ...[...sizeNames, ...colourNames, ...shapes, ...quadrants, ...letters],
];

/** CLIP tokens of the longest caption: five words for each shape and the letter, the commas between, begin and end. */
export const captionLength = 5 * (mostShapes + 1) + mostShapes + 2;

const llavaSpecials = ['<unk>', '<s>', '</s>', '<pad>', '<image>'];
const speakers = ['USER:', 'ASSISTANT:'];

/**
 * The content of a `tokenizer.json` for the decoder: one token a word, `<s>` in front. The prompt's two speakers are
 * tokens too, kept as they are; all else is lower-cased.
 */
export const llavaTokenizer = (): object => decoderTokenizer(worldWords);

/** The same for clips: their words behind all others, so that whoever knows scenes has only these to learn. */
export const videoTokenizer = (): object => decoderTokenizer([...worldWords, ...clipWords]);

const decoderTokenizer = (words: readonly string[]): object =>
  wordTokenizer([...llavaSpecials, ...speakers, ...words], llavaSpecials, speakers, ['<s>', '$A']);

/**
 * The content of a `tokenizer.json` for CLIP's text tower: one token a word, between begin and end. As in CLIP these
 * two have the largest ids, and the end serves as padding.
 */
export function clipTokenizer(): object {
  const ends = ['<|startoftext|>', '<|endoftext|>'];
  return wordTokenizer(['<unk>', ...worldWords, ...ends], ['<unk>', ...ends], [], [ends[0], '$A', ends[1]]);
}

/**
 * WordPiece without pieces: a word is a token, or unknown. (WordLevel says the same, but Hugging Face's JavaScript
 * library has no such model.)
 */
function wordTokenizer(
  vocabulary: readonly string[],
  specials: readonly string[],
  verbatim: readonly string[],
  template: readonly string[],
): object {
  const vocab = Object.fromEntries(vocabulary.map((token, id) => [token, id]));
  const replace = (from: string, to: string) => ({ type: 'Replace', pattern: { String: from }, content: to });
  const added = [...specials, ...verbatim].map((content) => ({
    id: vocab[content],
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: specials.includes(content),
  }));
  const single = template.map((id) =>
    id === '$A' ? { Sequence: { id: 'A', type_id: 0 } } : { SpecialToken: { id, type_id: 0 } },
  );
  const used = template.filter((id) => id !== '$A');
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added.sort((a, b) => a.id - b.id),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Lowercase' },
        replace('?', ' ?'),
        replace(',', ' ,'),
        replace('colour', 'color'), // both spellings are understood
      ],
    },
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: {
      type: 'TemplateProcessing',
      single,
      pair: [...single, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: Object.fromEntries(used.map((id) => [id, { id, ids: [vocab[id]], tokens: [id] }])),
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
    model: {
      type: 'WordPiece',
      unk_token: '<unk>',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab,
    },
  };
}
