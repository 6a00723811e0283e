#!/usr/bin/env python3
# make_tokenizer_goldens.py — expected ids, made by Hugging Face `tokenizers` (PyPI).
#
#   python3 make_tokenizer_goldens.py [LLAMA3_TOKENIZER_JSON]
#
# writes, beside itself:
#   tokenizers/*.json          small tokenizers of ours, each with other parts of the pipeline
#   fuzz_strings.json          what is encoded
#   tokenizer_goldens.json     ids of every string with each of ours
#   tokenizer_digests.json     one digest of all ids for the demo's tokenizer and, if it is given,
#                              for Llama 3's, which is not part of this project

import hashlib
import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parents[2] / "examples" / "demo" / "base" / "tokenizer.json"
SEED = 20240726

LLAMA_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXT = ["The lamp in the hall is blue, and the door isn't locked.", "lamp hall door blue locked",
        "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.", "naïve café déjà vu",
        "日本語のテキストと한국어 텍스트와 русский текст и ελληνικό κείμενο", "1234 5678 90 3.14 2,718",
        "def f(x):\n    return x + 1\n\n\nfor i in range(10):\n\tprint(i)", "!!! ??? ... --- ___"]
WORDS = ["the", "lamp", "Hall", "isn't", "I'LL", "naïve", "Straße", "日本語", "한국어", "العربية",
         "हिन्दी", "ไทย", "👨‍👩‍👧", "🏳️‍🌈", "e\u0301", "\u1e9b\u0323", "ſ", "'S", "'ſ", "don’t",
         "1234567", "3.14", "²³¹", "Ⅷ", "x=1;", '{"a":1}', "def f(x):\n    return x", "\t\t", "   ",
         "\n\n", "\r\n", "\u00a0", "\u180e", "\u2028", "\u3000", "\u200b", "<|end|>", "<|user|>",
         "<|", "|>", "<|end", "<mask>", "word", "sword", "added", "-----", "!!!???", "…", "_foo_",
         "CamelCase", "\x00", "\x7f", "\u0085", "\ufffd", "\U0010ffff", "a,b", "12ab34"]


def strings(count):
    rng = random.Random(SEED)
    yield from ["", " ", "\n", "a", "  a", "a  ", "<|end|>", " <|end|> x", "<|end|><|end|>"]
    ranges = [(0x20, 0x7f), (0xa0, 0x250), (0x370, 0x600), (0x900, 0x1000), (0x3000, 0x9fff),
              (0x1f300, 0x1f6ff)]
    for _ in range(count):
        kind = rng.randrange(4)
        if kind == 0:
            yield "".join(rng.choice(WORDS) + rng.choice(["", " ", "  ", "\n"])
                          for _ in range(rng.randrange(12)))
        elif kind == 1:
            yield "".join(chr(rng.randrange(*rng.choice(ranges))) if rng.random() < 0.8
                          else rng.choice(" \t\n\r") for _ in range(rng.randrange(40)))
        elif kind == 2:
            # Python 3.11 and PCRE2 10.42 both know Unicode 14; nothing later is tried.
            points = (chr(rng.randrange(0x110000)) for _ in range(rng.randrange(60)))
            yield "".join(p for p in points if unicodedata.category(p) not in ("Cn", "Cs"))
        else:
            yield "".join(rng.choice(" \t\n\ra1.'s") for _ in range(rng.randrange(30)))


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **options})


def split(pattern, behavior, invert=False):
    return pre_tokenizers.Split(pattern, behavior=behavior, invert=invert)


def train(pre_tokenizer, normalizer=None, special=("<|end|>", "<|user|>"), size=480):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special),
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    return tokenizer


def ours():
    sequence = pre_tokenizers.Sequence
    gpt2 = train(byte_level(add_prefix_space=True, use_regex=True), normalizers.NFC())
    gpt2.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    gpt2.add_tokens([AddedToken("word", single_word=True), AddedToken("added", rstrip=True)])
    yield "gpt2_style", gpt2

    llama = train(sequence([split(Regex(LLAMA_SPLIT), "isolated"), byte_level()]))
    llama.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single="<|user|> $A <|end|>",
            special_tokens=[(t, llama.token_to_id(t)) for t in ("<|user|>", "<|end|>")])])
    yield "llama_style", llama

    ignoring = json.loads(llama.to_str())
    ignoring["model"]["ignore_merges"] = True
    ignoring["model"]["merges"] = ignoring["model"]["merges"][::2]
    ignoring["model"]["merges"] = [" ".join(m) for m in ignoring["model"]["merges"]
                                   if not any(" " in part for part in m)]
    yield "ignore_merges", Tokenizer.from_str(json.dumps(ignoring))

    yield "nfkc_digits", train(
        sequence([pre_tokenizers.Digits(individual_digits=True),
                  pre_tokenizers.Punctuation(), byte_level(use_regex=True)]),
        normalizers.Sequence([normalizers.NFKC(), normalizers.NFC()]))
    yield "digits_together", train(sequence([
        pre_tokenizers.Digits(individual_digits=False),
        split(Regex(r"\s+"), "removed"), byte_level()]), normalizers.NFD())
    yield "merged_previous", train(sequence([
        split(" ", "merged_with_previous"), split(".", "merged_with_next"), byte_level()]))
    yield "contiguous", train(sequence([
        split(Regex(r"[a-z]"), "contiguous"), split(Regex(r"\w+|\W+"), "isolated", True),
        pre_tokenizers.Punctuation("merged_with_next"), byte_level(add_prefix_space=True)]))


def ids_of(tokenizer, text, special):
    tokenizer.encode_special_tokens = not special
    return tokenizer.encode(text, add_special_tokens=False).ids


def digest(tokenizer, texts):
    sha256 = hashlib.sha256()
    for text in texts:
        ids = ids_of(tokenizer, text, True)
        sha256.update((",".join(map(str, ids)) + "\n").encode())
    return sha256.hexdigest()


def write(name, value):
    text = json.dumps(value, separators=(",", ":")).replace("],[", "],\n[")
    (HERE / name).write_text(text + "\n")


def main():
    texts = list(strings(300))
    write("fuzz_strings.json", texts)
    (HERE / "tokenizers").mkdir(exist_ok=True)
    goldens = {}
    for name, tokenizer in ours():
        (HERE / "tokenizers" / f"{name}.json").write_text(tokenizer.to_str(pretty=False) + "\n")
        goldens[name] = {
            "ids": [ids_of(tokenizer, t, True) for t in texts],
            "plain": [ids_of(tokenizer, t, False) for t in texts[:60]],
            "framed": tokenizer.encode("the lamp", add_special_tokens=True).ids,
            "decoded": [tokenizer.decode(ids_of(tokenizer, t, True), skip_special_tokens=False)
                        for t in texts]}
    write("tokenizer_goldens.json", goldens)

    digests = {"demo": digest(Tokenizer.from_file(str(DEMO)), texts)}
    if len(sys.argv) > 1:
        digests["llama3"] = digest(Tokenizer.from_file(sys.argv[1]), texts)
    (HERE / "tokenizer_digests.json").write_text(json.dumps(digests, indent=1) + "\n")


if __name__ == "__main__":
    main()
