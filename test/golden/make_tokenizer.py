"""Makes tokenizer/: small tokenizers in three published layouts, and what the `tokenizers` library says.

    python test/golden/make_tokenizer.py

spm-bpe.json    LLaMA 1 and 2: sentencepiece's BPE, "▁" for a space and one in front, bytes as a fallback.
byte-bpe.json   GPT-2: bytes written as printable characters, words cut out by ByteLevel's own pattern.
split-bpe.json  LLaMA 3: the same merges, words cut out by a Split pattern, whole words looked up first.
cases.json      per tokenizer: encode cases and decode cases.
Training counts words and breaks ties by the words themselves, so the files come out the same every time.
"""

import json
import platform
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

HERE = Path(__file__).parent / "tokenizer"
VERSIONS = {
    "script": "test/golden/make_tokenizer.py",
    "python": platform.python_version(),
    "tokenizers": tokenizers.__version__,
}

TEXT = """\
A picture is cut into small squares, and every square becomes a token.
The model looks at the tokens one after another.
What is in the image? There is a red circle above a blue square.
How many circles are there? There are three circles.
The user asks a question about the picture, and the assistant answers it in a short sentence.
USER: What is it? ASSISTANT: It is a cat.
Most of the squares show only the sky, the grass or the wall; few of them matter for the answer.
Keep the tokens that matter, drop the others, and the answer stays the same while the work becomes smaller.
Is the green triangle to the left of the yellow star?
Yes, the green triangle is to the left of the yellow star.
Is the small dog under the table? No, the small dog is on the chair.
Where is the other dog? It's behind the chair.
They're looking at 12 birds; we've counted 7 of them, and I'd say that's enough.
She'll count the other 5 tomorrow.
The café serves crème brûlée, and the naïve waiter says déjà vu.
Der Bär läuft über die Straße. El niño sueña mañana.
print("hello, world")    # four spaces
    return x + y * 2 - (a / b)
In the year 1999 there were 365 days, in 2000 there were 366, and 3.14159 is nearly pi.
"""

# ---- the sentencepiece kind ---------------------------------------------------

SPM_SPECIAL = ["<unk>", "<s>", "</s>"]


def make_spm():
    # Train on words, as sentencepiece does ...
    learner = Tokenizer(BPE())
    learner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    learner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never")
    learner.train_from_iterator(TEXT.splitlines(), BpeTrainer(vocab_size=338, show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    merges = [("▁", "▁"), ("▁▁", "▁▁")] + [
        tuple(pair) for pair in learned["merges"]
    ]  # runs of spaces come first, as in LLaMA
    alphabet = sorted(token for token in learned["vocab"] if len(token) == 1)
    # ... and number them as sentencepiece does: specials, 256 bytes, merges in order, single characters.
    pieces = SPM_SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)] + [a + b for a, b in merges] + alphabet
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}

    made = Tokenizer(BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = learner.normalizer  # applied to each stretch between special tokens
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPM_SPECIAL])
    made.add_special_tokens([AddedToken("<image>", normalized=False, special=True)])
    made.post_processor = bos_template("<s>", made)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return made


# ---- the byte-level kinds -----------------------------------------------------

BYTE_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<image>"]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def make_byte(split):
    learner = Tokenizer(BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator(
        [TEXT], BpeTrainer(vocab_size=560, initial_alphabet=sorted(alphabet), show_progress=False)
    )
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    vocab = dict(learned["vocab"])
    if split:
        vocab["Ġelephant"] = len(vocab)  # no merge leads here: found only by looking up the whole word

    made = Tokenizer(BPE(vocab, merges, ignore_merges=split))
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split)
    if split:
        cut = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"), cut])
    made.pre_tokenizer = cut
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in BYTE_SPECIAL])
    bos = bos_template(BYTE_SPECIAL[0], made)
    made.post_processor = (
        processors.Sequence([processors.ByteLevel(trim_offsets=False), bos]) if split else bos
    )
    made.decoder = decoders.ByteLevel()
    return made


def bos_template(bos, tokenizer):
    return processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )


# ---- the cases ----------------------------------------------------------------

STRINGS = [
    "",
    " ",
    "   ",
    "a",
    "The picture is small.",
    " leading space",
    "trailing space ",
    "two  spaces   three    four     five",
    "line one\nline two",
    "\n",
    "\n\n\nthree newlines, then\r\nwindows",
    "a\ttab and\t\ttwo",
    "It's what they're looking at; WE'VE counted, I'D say.",
    "12 345 6789 3.14159 x2000y",
    "café crème brûlée naïve",
    "cafe\u0301 with a combining accent",
    "Straße über Łódź",
    "你好，世界。",
    "日本語のテキスト and English",
    "한국어 مرحبا עברית",
    "emoji 😀 and 👍🏽",
    "family 👩\u200d👩\u200d👧\u200d👦 flag 🇫🇷",
    "USER: <image>\nWhat is it? ASSISTANT:",
    "<image>",
    "<image><image> two images <image>",
    " <image> spaces around ",
    "<s>[INST] hi [/INST]</s>",
    "<|begin_of_text|>hi<|end_of_text|>",
    "<imag> <image > <unk> <0x41>",
    "▁already▁there Ġtoo",
    "an elephant, elephants",
    'print("hello, world")    # four spaces\n    return x',
    "nul \u0000 and nbsp \u00a0 and zero-width \u200b.",
    "https://example.org/a_b?c=d&e=%20",
    "!!!??? ... --- ((()))",
    "supercalifragilisticexpialidocious",
]


def cases(made, image, bos, text_with_bytes):
    encoded = []
    for text in STRINGS:
        plain = made.encode(text, add_special_tokens=False).ids
        full = made.encode(text, add_special_tokens=True).ids
        decoded = made.decode(full, skip_special_tokens=True)
        encoded.append({"text": text, "ids": plain, "idsWithSpecial": full, "decoded": decoded})
    pieces = made.encode(text_with_bytes, add_special_tokens=False).ids
    answers = [
        pieces[:n] for n in range(1, len(pieces))
    ]  # as they come while generating, some inside a character
    answers += [pieces[1:], [bos] + pieces + [image] + pieces]
    decoded = [
        {
            "ids": ids,
            "decoded": made.decode(ids, skip_special_tokens=True),
            "decodedWithSpecial": made.decode(ids, skip_special_tokens=False),
        }
        for ids in answers
    ]
    return {"encode": encoded, "decode": decoded}


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    print(VERSIONS)
    every = {"made_with": VERSIONS}
    for name, made in (
        ("spm-bpe", make_spm()),
        ("byte-bpe", make_byte(False)),
        ("split-bpe", make_byte(True)),
    ):
        made.save(str(HERE / f"{name}.json"))
        made = Tokenizer.from_file(str(HERE / f"{name}.json"))  # what a reader gets
        bos = "<s>" if name == "spm-bpe" else BYTE_SPECIAL[0]
        every[name] = cases(made, made.token_to_id("<image>"), made.token_to_id(bos), "The é 😀!")
        lossy = [c["text"] for c in every[name]["encode"] if c["decoded"] != c["text"]]
        print(
            f"{name}: {made.get_vocab_size()} tokens, {len(STRINGS)} strings, decoding changes {len(lossy)}"
        )
    lines = (
        json.dumps(every, ensure_ascii=True, indent=None).replace('}, {"', '},\n{"').replace('[{"', '[\n{"')
    )
    (HERE / "cases.json").write_text(lines + "\n")
    assert json.loads(lines) == every
