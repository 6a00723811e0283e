#!/usr/bin/env python3
# make_tokenizer_goldens.py — expected ids, made by Hugging Face `tokenizers` (PyPI).
#
#   python3 make_tokenizer_goldens.py [LLAMA3_TOKENIZER_JSON]
#
# writes, beside itself:
#   tokenizers/*.json          small tokenizers of ours, each with other parts of the pipeline
#   fuzz_strings.json          what is encoded; of the generator of `scripts/bench tokenizer`
#   tokenizer_goldens.json     for every string with each of ours, six digits of a SHA-256 of its ids
#                              and of the text they decode to
#   tokenizer_digests.json     one digest of all ids for the demo's tokenizer and, if it is given,
#                              for Llama 3's, which is not part of this project

import base64
import hashlib
import json
import pathlib
import struct
import sys

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DEMO = ROOT / "examples" / "demo" / "base" / "tokenizer.json"
sys.path.insert(0, str(ROOT / "tests" / "bench" / "tokenizer"))

import texts as text_generator

COUNT = 420  # strings
PLAIN = 150  # of them with special tokens as text, and decoded without special tokens
NOT_KNOWN = "------"

LLAMA_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXT = ["The lamp in the hall is blue, and the door isn't locked.", "lamp hall door blue locked",
        "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.", "naïve café déjà vu",
        "日本語のテキストと한국어 텍스트와 русский текст и ελληνικό κείμενο", "1234 5678 90 3.14 2,718",
        "def f(x):\n    return x + 1\n\n\nfor i in range(10):\n\tprint(i)", "!!! ??? ... --- ___"]
SPECIALS = ["<|end|>", "<|user|>", "<mask>", "<s>", "</s>", "<unk>", "[CLS]", "[SEP]", "[UNK]", "word",
            "added",
            "Straße"]
MARKER = "\u2581"


def strings():
    yield from ["", " ", "\n", "a", "  a", "a  ", "<|end|>", " <|end|> x", "<|end|><|end|>",
                "sword word words added   x", "a" * 200, " " * 200, "x<s> y</s>"]
    yield from text_generator.strings(COUNT, SPECIALS)


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **options})


def split(pattern, behavior, invert=False):
    return pre_tokenizers.Split(pattern, behavior=behavior, invert=invert)


def train(pre_tokenizer, normalizer=None, special=("<|end|>", "<|user|>"), size=480,
          alphabet=None, decoder=decoders.ByteLevel()):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    if decoder:
        tokenizer.decoder = decoder
    if alphabet is None:
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special),
                                  initial_alphabet=alphabet, show_progress=False)
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


def spm():
    """Llama 2's way: no pre-tokeniser, bytes for what is unknown."""
    trained = train(pre_tokenizers.Metaspace(), special=["<unk>", "<s>", "</s>"], size=420,
                    alphabet=[], decoder=None)
    file = json.loads(trained.to_str())
    vocabulary = file["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    file["model"].update(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    file["normalizer"] = dict(type="Sequence", normalizers=[
        dict(type="Prepend", prepend=MARKER),
        dict(type="Replace", pattern=dict(String=" "), content=MARKER)])
    file["pre_tokenizer"] = None
    file["decoder"] = dict(type="Sequence", decoders=[
        dict(type="Replace", pattern=dict(String=MARKER), content=" "), dict(type="ByteFallback"),
        dict(type="Fuse"), dict(type="Strip", content=" ", start=1, stop=0)])
    return file


def spm_family():
    prepended = spm()
    yield "spm_prepend", prepended
    first = json.loads(json.dumps(prepended))
    first["normalizer"] = None
    first["pre_tokenizer"] = dict(type="Metaspace", replacement=MARKER, prepend_scheme="first",
                                  split=False)
    yield "spm_first", first
    gemma = json.loads(json.dumps(prepended))
    gemma["normalizer"] = gemma["normalizer"]["normalizers"][1]
    gemma["pre_tokenizer"] = dict(type="Split", pattern=dict(String=" "), invert=False,
                                  behavior="MergedWithPrevious")
    gemma["decoder"]["decoders"].pop()
    gemma["model"]["merges"].append([list(gemma["model"]["vocab"])[10], MARKER])
    joined = "".join(gemma["model"]["merges"][-1])
    gemma["model"]["vocab"][joined] = len(gemma["model"]["vocab"])
    yield "spm_never", gemma
    partial = json.loads(json.dumps(prepended))  # some bytes are missing, unknowns are not fused
    for byte in range(0x80, 0xE3):
        del partial["model"]["vocab"][f"<0x{byte:02X}>"]
    partial["model"].update(fuse_unk=False)
    partial["decoder"] = dict(type="Sequence", decoders=[
        dict(type="ByteFallback"), dict(type="Metaspace", replacement=MARKER,
                                        prepend_scheme="always", split=True)])
    yield "spm_partial", partial


def charsmap(table):
    """A compiled table as SentencePiece has it: a double array over the keys' bytes."""
    tree, texts = {}, b""
    for key, text in sorted(table.items()):
        node = tree
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[None] = len(texts)
        texts += text.encode() + b"\0"
    units, used = {}, {0}
    base = 0

    def place(node, at, label):
        nonlocal base
        children = [byte for byte in node if byte is not None]
        slots = children + [0]
        while any((base ^ slot) in used or (base ^ slot) == 0 for slot in slots):
            base += 1
        mine = base
        used.update(mine ^ slot for slot in slots)
        units[at] = label | ((None in node) << 8) | ((at ^ mine) << 10)
        if None in node:
            units[mine] = node[None] | 1 << 31
        for byte in children:
            place(node[byte], mine ^ byte, byte)

    place(tree, 0, 0)
    array = [units.get(i, 1 << 31) for i in range((max(units) | 255) + 1)]
    blob = struct.pack(f"<I{len(array)}I", 4 * len(array), *array) + texts
    return base64.b64encode(blob).decode()


CHARSMAP = {"\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ", "ﬁ": "fi", "①": "1",
            "Å": "Å", "e\u0301": "é", "ª": "a", "\u200b": "", "ｱ": "ア", "中": "中", "½": "1/2",
            "가": "가", "👍": "+1", "ſ": "s", "º": "o", "\u0301": "'", "Ω": "Ω"}


def unigram_family():
    def unigram(normalizer, pre_tokenizer, **options):
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
        tokenizer.decoder = decoders.Metaspace()
        tokenizer.train_from_iterator(TEXT * 3, trainers.UnigramTrainer(
            vocab_size=260, unk_token="<unk>", special_tokens=["<unk>", "<s>", "</s>"],
            show_progress=False, **options))
        return tokenizer

    t5 = unigram(normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(),
                                       normalizers.Replace(Regex(" {2,}"), " ")]),
                 pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                          pre_tokenizers.Metaspace()]))
    t5.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    yield "unigram_t5", json.loads(t5.to_str())

    xlm = json.loads(unigram(normalizers.Strip(left=False), pre_tokenizers.Metaspace()).to_str())
    xlm["normalizer"] = dict(type="Sequence", normalizers=[
        dict(type="Precompiled", precompiled_charsmap=charsmap(CHARSMAP)),
        dict(type="Strip", strip_left=False, strip_right=True),
        dict(type="Replace", pattern=dict(Regex=" {2,}"), content=MARKER)])
    xlm["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    xlm["model"]["byte_fallback"] = True
    xlm["decoder"] = dict(type="Sequence", decoders=[
        dict(type="ByteFallback"), dict(type="Metaspace", replacement=MARKER,
                                        prepend_scheme="never", split=True),
        dict(type="Strip", content=" ", start=0, stop=1)])
    yield "unigram_charsmap", xlm


def wordpiece(normalizer, pre_tokenizer, **options):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", **options))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.train_from_iterator(TEXT * 3, trainers.WordPieceTrainer(
        vocab_size=260, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False))
    return tokenizer


def word_families():
    bert = wordpiece(normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer())
    bert.decoder = decoders.WordPiece()
    bert.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    yield "wordpiece_bert", bert
    plain = wordpiece(normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(),
                                            normalizers.Lowercase(), normalizers.Strip()]),
                      pre_tokenizers.Whitespace(), max_input_chars_per_word=12)
    plain.decoder = decoders.WordPiece(cleanup=False)
    yield "wordpiece_whitespace", plain
    cased = wordpiece(normalizers.BertNormalizer(lowercase=False, handle_chinese_chars=False,
                                                 strip_accents=True),
                      pre_tokenizers.Sequence([pre_tokenizers.CharDelimiterSplit(" "),
                                               pre_tokenizers.Digits()]))
    yield "wordpiece_no_decoder", cased

    suffix = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    suffix.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase()])
    suffix.pre_tokenizer = pre_tokenizers.Whitespace()
    suffix.decoder = decoders.BPEDecoder()
    suffix.train_from_iterator(TEXT * 3, trainers.BpeTrainer(
        vocab_size=300, end_of_word_suffix="</w>", special_tokens=["<unk>"], show_progress=False))
    yield "bpe_suffix", suffix
    prefix = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", fuse_unk=True))
    prefix.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    prefix.decoder = decoders.WordPiece()
    prefix.train_from_iterator(TEXT * 3, trainers.BpeTrainer(
        vocab_size=300, continuing_subword_prefix="##", special_tokens=["<unk>"],
        show_progress=False))
    yield "bpe_prefix", prefix


def byte_families():
    sequence = pre_tokenizers.Sequence
    yield "falcon_style", train(sequence([
        pre_tokenizers.Punctuation("contiguous"), byte_level(use_regex=True),
        pre_tokenizers.Digits(individual_digits=False), split(Regex("[0-9][0-9][0-9]"), "isolated")]))
    roberta = train(byte_level(add_prefix_space=True, use_regex=True))
    roberta.post_processor = processors.RobertaProcessing(("<|end|>", 0), ("<|user|>", 1))
    roberta.add_tokens([AddedToken("Straße", normalized=True)])
    yield "roberta_style", roberta
    alphabet = train(byte_level())
    alphabet.normalizer = normalizers.Sequence([
        normalizers.Lowercase(), normalizers.Replace("'", '"'), normalizers.ByteLevel()])
    alphabet.pre_tokenizer = split(Regex(r"(?<=\u0120)\w+\b|[\W&&[^\u0120]]{1,2}+|\p{^L}"), "isolated")
    alphabet.decoder = decoders.Sequence([decoders.Replace(Regex("[0-9]"), "#"), decoders.ByteLevel(),
                                          decoders.Strip(" ", 0, 2)])
    alphabet.add_tokens([AddedToken("Straße", normalized=True)])
    yield "byte_normalizer", alphabet
    o200k = train(sequence([split(Regex(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n/]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"), "removed", True), byte_level()]))
    yield "o200k_style", o200k


def ids_of(tokenizer, text, special):
    tokenizer.encode_special_tokens = not special
    return tokenizer.encode(text, add_special_tokens=False).ids


def digest(tokenizer, texts):
    sha256 = hashlib.sha256()
    for text in texts:
        ids = ids_of(tokenizer, text, True)
        sha256.update((",".join(map(str, ids)) + "\n").encode())
    return sha256.hexdigest()


def print_of_text(tokenizer, ids, skip_special):
    """NOT_KNOWN where the library does not survive: its Strip and BPEDecoder index out of bounds."""
    try:
        return print_of(tokenizer.decode(ids, skip_special_tokens=skip_special))
    except BaseException as panic:
        assert type(panic).__name__ == "PanicException"
        return NOT_KNOWN


def print_of(data):
    return hashlib.sha256(data.encode()).hexdigest()[:6]


def print_of_ids(ids):
    return print_of(",".join(map(str, ids)))


def write(name, value):
    text = json.dumps(value, separators=(",", ":")).replace("],[", "],\n[")
    (HERE / name).write_text(text + "\n")


def main():
    texts = list(strings())
    write("fuzz_strings.json", texts)
    (HERE / "tokenizers").mkdir(exist_ok=True)
    goldens = {}
    families = (ours(), spm_family(), unigram_family(), word_families(), byte_families())
    for name, tokenizer in (pair for family in families for pair in family):
        if isinstance(tokenizer, dict):
            tokenizer = Tokenizer.from_str(json.dumps(tokenizer))
        (HERE / "tokenizers" / f"{name}.json").write_text(tokenizer.to_str(pretty=False) + "\n")
        ids = [ids_of(tokenizer, t, True) for t in texts]
        goldens[name] = {
            "ids": " ".join(print_of_ids(line) for line in ids),
            "plain": " ".join(print_of_ids(ids_of(tokenizer, t, False)) for t in texts[:PLAIN]),
            "framed": tokenizer.encode("the lamp", add_special_tokens=True).ids,
            "decoded": " ".join(print_of_text(tokenizer, line, False) for line in ids),
            "shown": " ".join(print_of_text(tokenizer, line, True) for line in ids[:PLAIN])}
    write("tokenizer_goldens.json", goldens)

    digests = {"demo": digest(Tokenizer.from_file(str(DEMO)), texts)}
    if len(sys.argv) > 1:
        digests["llama3"] = digest(Tokenizer.from_file(sys.argv[1]), texts)
    (HERE / "tokenizer_digests.json").write_text(json.dumps(digests, indent=1) + "\n")


if __name__ == "__main__":
    main()
