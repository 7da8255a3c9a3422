"""Makes tokenizer/features.json: small tokenizers, a feature each, and what the `tokenizers` library says.

    python test/golden/make_tokenizer_features.py

Each is a whole tokenizer.json, with the ids of some texts (with and without the added tokens) and the decoded texts of
some ids. Files that the Rust library refuses are left out.
"""

import json
import platform
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer

HERE = Path(__file__).parent / "tokenizer"
WORDS = ["the", "sep", "word", "picture", "a", "b", "c", "in", "is", "hello", "world", "HE", "café", "naïve", "12", "345"]
TEXTS = [
    "",
    " ",
    "the",
    "the sep word",
    "thesepword",
    "the_sep",
    "sep",
    "sep.",
    "(sep)sep sep",
    "sep sepsep",
    "éseps",
    "the seps xsepsy Seps  SEPS_ seps",
    "a  b   c",
    " a b ",
    "  the picture",
    "hello, world! Hello",
    "Hello<image>  world <image>the",
    "<image>the",
    "café naïve CAFÉ",
    "12 345 1a2 ٣٤ Ⅷ",
    "a-b.c...!?",
    "a\tb\nc\r\n",
    "a▁b ▁c",
    "你好 the",
    "😀 the é",
    "a\u00a0b\u3000c",
    "hello'll it's",
    "Xx yY",
    "word<s>word</s>",
]


def letters():
    text = "".join(TEXTS + WORDS) + "▁Ġ"
    return sorted(set(text) - {" "})


def bpe(byte_fallback=False, unk="<unk>", words=WORDS, mark="", suffix=None, bytelevel=False, **more):
    """The words, put together from the left."""
    vocab, merges = {}, []
    def add(piece):
        vocab.setdefault(piece, len(vocab))
    for piece in ["<unk>", "<s>", "</s>"]:
        add(piece)
    if byte_fallback:
        for byte in range(256):
            add(f"<0x{byte:02X}>")
    alphabet = [c for c in letters() if not byte_fallback or ord(c) < 0x250 or c == "▁"]
    if bytelevel:
        from tokenizers.pre_tokenizers import ByteLevel
        alphabet = sorted(ByteLevel.alphabet())
    for c in alphabet:
        add(c)
    if suffix:
        for c in alphabet:
            add(c + suffix)
    for word in ([mark + w for w in words] if mark else []) + list(words):
        if any(c not in alphabet for c in word):
            continue
        left = word[0]
        for i in range(1, len(word)):
            right = word[i] + (suffix if suffix and i == len(word) - 1 else "")
            if (left, right) not in merges:
                merges.append((left, right))
            left = left + right
            add(left)
    return {"type": "BPE", "dropout": None, "unk_token": unk, "continuing_subword_prefix": None,
            "end_of_word_suffix": suffix, "fuse_unk": False, "byte_fallback": byte_fallback, "ignore_merges": False,
            "vocab": vocab, "merges": [list(pair) for pair in merges], **more}


def wordpiece(**more):
    pieces = ["[UNK]", "[CLS]", "[SEP]"] + WORDS + letters() + ["##" + c for c in letters()] + ["##ture", "##rld"]
    return {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 8, "vocab": {p: i for i, p in enumerate(dict.fromkeys(pieces))}, **more}


def wordlevel():
    return {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(["<unk>"] + WORDS)}, "unk_token": "<unk>"}


def unigram(**more):
    pieces = dict.fromkeys(["<unk>", "▁"] + ["▁" + w for w in WORDS] + WORDS + letters())
    return {"type": "Unigram", "unk_id": 0, "vocab": [[p, -1.0 - (7 * i) % 13 / 4 - (0 if len(p) > 1 else 6)]
            for i, p in enumerate(pieces)], "byte_fallback": False, **more}


def token(content, id, special=False, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": not special, "special": special, **flags}


def whole(model, added=(), **parts):
    size = max(model["vocab"].values()) + 1 if isinstance(model["vocab"], dict) else len(model["vocab"])
    known = model["vocab"] if isinstance(model["vocab"], dict) else {p: i for i, (p, _) in enumerate(model["vocab"])}
    listed, ids = [], dict(known)
    for one in added:
        if one["content"] not in ids:
            ids[one["content"]] = size
            size += 1
        listed.append({**one, "id": ids[one["content"]]})
    listed.sort(key=lambda t: t["id"])
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": listed,
            "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model, **parts}


IMAGE = token("<image>", 0, True)
def sequence(kind, *parts):
    return {"type": "Sequence", kind: list(parts)}
def meta(**more):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True, **more}
def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
SPACE = {"Regex": r"\s+"}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
FALLBACK = sequence("decoders", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                    {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})
LOWER = {"type": "Lowercase"}
def bert(**more):
    return {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": True, **more}


def made():
    spm = lambda **more: bpe(mark="▁", **more)
    yield "plain BPE", whole(bpe(), [IMAGE])
    yield "BPE without an unknown token", whole(bpe(unk=None, words=["the"]), [IMAGE])
    yield "fuse_unk", whole(bpe(fuse_unk=True, words=["the"]), [IMAGE], pre_tokenizer={"type": "WhitespaceSplit"})
    yield "end_of_word_suffix", whole(bpe(suffix="</w>"), [IMAGE], pre_tokenizer={"type": "WhitespaceSplit"},
                                      decoder={"type": "BPEDecoder", "suffix": "</w>"})
    yield "continuing_subword_prefix", whole({**bpe(words=[]), "continuing_subword_prefix": "##"}, [IMAGE])
    yield "ignore_merges", whole(bpe(ignore_merges=True), [IMAGE], pre_tokenizer={"type": "WhitespaceSplit"})
    for special in (True, False):
        for flag in ("single_word", "lstrip", "rstrip"):
            for normalized in (True, False):
                one = token("sep", 0, special, **{flag: True, "normalized": normalized})
                name = f"{flag}{' special' if special else ''}{' normalized' if normalized else ''}"
                yield name, whole(bpe(), [one, IMAGE])
                upper = {**one, "content": "SEPS"}
                yield f"{name}, lowercase", whole(bpe(), [upper, IMAGE], normalizer=LOWER)
                yield f"{name}, Metaspace", whole(spm(), [one, IMAGE], pre_tokenizer=meta(split=False))
    yield "a token, another when normalized", whole(bpe(), [token("SEP", 0), IMAGE], normalizer=LOWER)
    yield "two tokens, one when normalized", whole(bpe(), [token("SEPS", 0), token("SePS", 0), IMAGE], normalizer=LOWER)
    yield "single_word, lstrip and rstrip", whole(bpe(), [token("sep", 0, single_word=True, lstrip=True, rstrip=True), IMAGE])
    yield "an added token inside another", whole(bpe(), [token("sep", 0), token("sep word", 0), token("p", 0, single_word=True), IMAGE])
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            decoder = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}
            yield f"Metaspace {scheme} split {cut}", whole(spm(), [IMAGE], pre_tokenizer=meta(prepend_scheme=scheme, split=cut), decoder=decoder)
            yield f"Metaspace {scheme} split {cut}, normalized token", whole(spm(), [IMAGE, token("sep", 0)], pre_tokenizer=meta(prepend_scheme=scheme, split=cut), decoder=decoder)
    old = {"type": "Metaspace", "replacement": "▁"}
    for prefix in (True, False):
        yield f"Metaspace add_prefix_space {prefix}", whole(spm(), [IMAGE], pre_tokenizer={**old, "add_prefix_space": prefix}, decoder={**old, "add_prefix_space": prefix})
    yield "Metaspace of another mark", whole(bpe(mark="Ġ"), [IMAGE], pre_tokenizer=meta(replacement="Ġ"), decoder={**meta(replacement="Ġ")})
    yield "Metaspace after WhitespaceSplit", whole(spm(), [IMAGE], pre_tokenizer=sequence("pretokenizers", {"type": "WhitespaceSplit"}, meta()), decoder=meta())
    yield "byte fallback", whole(spm(byte_fallback=True), [IMAGE], pre_tokenizer=meta(split=False), decoder=FALLBACK)
    yield "byte fallback, prepended", whole(spm(byte_fallback=True), [IMAGE], decoder=FALLBACK, normalizer=sequence(
        "normalizers", {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}))
    yield "byte fallback alone", whole(spm(byte_fallback=True), [IMAGE], decoder={"type": "ByteFallback"})
    for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"):
        yield name, whole(bpe(), [IMAGE], normalizer={"type": name})
    yield "NFD and StripAccents", whole(bpe(), [IMAGE], normalizer=sequence("normalizers", {"type": "NFD"}, {"type": "StripAccents"}))
    yield "Strip", whole(bpe(), [IMAGE], normalizer={"type": "Strip", "strip_left": True, "strip_right": False})
    yield "Replace by a pattern", whole(bpe(), [IMAGE], normalizer={"type": "Replace", "pattern": {"Regex": r"\s{2,}"}, "content": "b"})
    yield "Prepend", whole(spm(), [IMAGE, token("seps", 0)], normalizer={"type": "Prepend", "prepend": "▁"})
    for more in ({}, {"lowercase": False}, {"strip_accents": False}, {"strip_accents": True, "lowercase": False}, {"handle_chinese_chars": False}, {"clean_text": False}):
        yield f"BertNormalizer {more}", whole(wordpiece(), [IMAGE], normalizer=bert(**more), pre_tokenizer={"type": "BertPreTokenizer"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": True})
    yield "WordPiece", whole(wordpiece(), [IMAGE], pre_tokenizer={"type": "Whitespace"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": False})
    for name in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "UnicodeScripts"):
        yield name, whole(bpe(), [IMAGE], pre_tokenizer={"type": name})
        yield f"WordLevel, {name}", whole(wordlevel(), [IMAGE], pre_tokenizer={"type": name})
    yield "CharDelimiterSplit", whole(bpe(), [IMAGE], pre_tokenizer={"type": "CharDelimiterSplit", "delimiter": "e"})
    for one in (True, False):
        yield f"Digits {one}", whole(bpe(), [IMAGE], pre_tokenizer={"type": "Digits", "individual_digits": one})
    yield "FixedLength", whole(bpe(), [IMAGE], pre_tokenizer={"type": "FixedLength", "length": 3})
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield f"Punctuation {behavior}", whole(bpe(), [IMAGE], pre_tokenizer={"type": "Punctuation", "behavior": behavior})
        for pattern in (SPACE, {"Regex": "(a|e)"}, {"Regex": "[^aeio]+"}, {"String": " "}, {"String": "."}):
            for invert in (True, False):
                yield f"Split {json.dumps(pattern)} {behavior} invert {invert}", whole(bpe(), [IMAGE], pre_tokenizer=split(pattern, behavior, invert))
    for prefix in (True, False):
        for regex in (True, False):
            cut = {**BYTES, "add_prefix_space": prefix, "use_regex": regex}
            yield f"ByteLevel prefix {prefix} regex {regex}", whole(bpe(bytelevel=True), [IMAGE, token("the sep", 0)], pre_tokenizer=cut, decoder=BYTES)
    yield "Unigram", whole(unigram(), [IMAGE], pre_tokenizer=meta(), decoder=meta())
    yield "Unigram, byte fallback", whole(unigram(byte_fallback=True), [IMAGE], pre_tokenizer=meta(), decoder=meta())
    for name, end, tokens in (("TemplateProcessing", "</s>", ["</s>"]), ("TemplateProcessing, others", "E", ["</s>", "</s>"])):
        single = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end, "type_id": 0}}]
        yield name, whole(bpe(), [IMAGE, token("<s>", 0, True)], post_processor={
            "type": "TemplateProcessing", "single": single, "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}, end: {"id": end, "ids": [2] * len(tokens), "tokens": tokens}}})
    yield "BertProcessing", whole(wordpiece(), [IMAGE], post_processor={"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}, pre_tokenizer={"type": "Whitespace"})
    yield "RobertaProcessing", whole(bpe(bytelevel=True), [IMAGE], pre_tokenizer=BYTES, decoder=BYTES, post_processor={"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": True, "add_prefix_space": False})


def record(spec):
    one = Tokenizer.from_str(json.dumps(spec))
    size = one.get_vocab_size()
    texts = [{"text": t, "ids": one.encode(t, add_special_tokens=False).ids, "special": one.encode(t).ids} for t in TEXTS]
    bytes_of = {b: one.token_to_id(f"<0x{b:02X}>") for b in (0x0A, 0xE2, 0x82, 0xAC, 0xC3, 0xA9)}
    runs = [t["ids"] for t in texts] + [[i, (i * 7 + 3) % size, (i * 31 + 5) % size, i] for i in range(0, size, max(1, size // 12))]
    if bytes_of[0x0A] is not None:
        word = one.encode("the", add_special_tokens=False).ids
        for run in ([0x0A, 0xE2, 0x82], [0xE2, 0x82, 0xAC], [0xC3, 0xA9, 0xE2], [0x82], [0x0A]):
            ids = [bytes_of[b] for b in run]
            runs += [ids, word + ids + word, ids + word, word + ids]
    runs += [[size + 5, 3], [0, 1, 2]]
    decoded = [{"ids": ids, "text": one.decode(ids, skip_special_tokens=True)} for ids in runs if ids]
    return {"json": spec, "encode": texts, "decode": decoded}


if __name__ == "__main__":
    every, refused = {}, []
    for name, spec in made():
        try:
            every[name] = record(spec)
        except Exception as error:
            refused.append(f"{name}: {error}")
    versions = {"script": "test/golden/make_tokenizer_features.py", "python": platform.python_version(), "tokenizers": tokenizers.__version__}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in every.items())
    (HERE / "features.json").write_text('{"made_with": ' + json.dumps(versions) + ",\n" + lines + "\n}\n")
    print(versions, f"{len(every)} tokenizers, refused by the library:", *refused, sep="\n")
