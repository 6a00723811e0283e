#!/usr/bin/env python3
# make_unicode_tables.py — which code points Hugging Face `tokenizers` (PyPI) takes for what.
#
#   python3 make_unicode_tables.py
#
# writes engine/text/unicode_tables.cpp. Nothing is taken from a Unicode version: the library is
# asked about every code point, stage by stage, because its parts have tables of different age
# (0.23.3: Oniguruma's and the regex crate's are Unicode 16, Rust's own 17, those of
# unicode_categories and of unicode-normalization much older). A set is written as numbers in turn:
# how many code points are out of it, how many are in it, and so on from U+0000.

import pathlib

from tokenizers import Regex, normalizers, pre_tokenizers

OUT = pathlib.Path(__file__).resolve().parents[3] / "engine" / "text" / "unicode_tables.cpp"
POINTS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf "
              "Co").split()
SCRIPTS = ("Arabic Cyrillic Devanagari Greek Han Hangul Hebrew Hiragana Katakana Khmer Lao Latin "
           "Myanmar Thai").split()

HEAD = """// Written by tests/engine/data/make_unicode_tables.py; not to be edited by hand.
#include "engine/text/unicode_tables.hpp"

#include <array>
#include <cassert>

namespace tessera {
namespace {

// clang-format off
"""
TAIL = """// clang-format on

std::span<const std::uint32_t> runs(UnicodeTable table) {
  return kTables[static_cast<std::size_t>(table)];
}

}  // namespace

CodePointSet read_table(UnicodeTable table) {
  CodePointSet set;
  char32_t at = 0;
  bool in = false;
  for (const std::uint32_t length : runs(table)) {
    if (in) set.add(at, at + length);
    at += length;
    in = !in;
  }
  return set;
}

std::span<const LowerRun> lower_runs() {
  return kLower;
}

}  // namespace tessera
"""


def matched(pattern):
    """What Oniguruma matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return {c for word, _ in split.pre_tokenize_str("".join(POINTS)) for c in word}


def alone(pre_tokenizer):
    """What is cut off from the letter before it."""
    words = pre_tokenizer.pre_tokenize_str("".join("a" + c for c in POINTS))
    return {word for word, _ in words if len(word) == 1 and word != "a"}


def gone(normalizer, before=""):
    """What a normaliser takes away."""
    return {c for c in POINTS if normalizer.normalize_str(before + c) == before}


def sets():
    bert = normalizers.BertNormalizer
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    for category in CATEGORIES:
        yield category, matched(r"\p{%s}" % category)
    for script in SCRIPTS:
        yield script, matched(r"\p{%s}" % script)
    yield "Word", matched(r"\w")
    yield "Space", matched(r"\s")
    yield "Numeric", alone(pre_tokenizers.Digits(individual_digits=True))
    yield "Punctuation", alone(pre_tokenizers.Punctuation("isolated"))
    yield "Control", gone(bert(**{**off, "clean_text": True}))
    yield "Nonspacing", gone(bert(**{**off, "strip_accents": True}), "a")
    yield "Combining", gone(normalizers.StripAccents())


def lengths(points):
    at, out = 0, []
    for c in sorted(map(ord, points)):
        if at == 0xD800 and out and c == 0xE000:  # surrogates are in no text
            out[-1], at = out[-1] + 0x800, c
        if out and c == at:
            out[-1] += 1
        else:
            out += [c - at, 1]
        at = c + 1
    return out


def lower_runs():
    """(first, last, step, what is added); the one letter that becomes two is in the code."""
    lower = normalizers.Lowercase()
    runs = []
    for c in POINTS:
        text = lower.normalize_str(c)
        if text == c or len(text) > 1:
            assert len(text) == 1 or c == "\u0130", c
            continue
        c, delta = ord(c), ord(text) - ord(c)
        run = runs[-1] if runs else None
        if run and run[3] == delta and c - run[1] in (run[2] or c - run[1],) and c - run[1] < 3:
            run[1], run[2] = c, c - run[1]
        else:
            runs.append([c, c, 0, delta])
    return [(a, b, step or 1, delta) for a, b, step, delta in runs]


def wrapped(items):
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > 100:
            yield line
            line = "   "
        line += f" {item},"
    yield line


def main():
    text = HEAD
    names = []
    for name, points in sets():
        numbers = lengths(points)
        names.append(f"k{name}")
        text += f"constexpr std::array<std::uint32_t, {len(numbers)}> k{name} = {{\n"
        text += "\n".join(wrapped(map(str, numbers))) + "\n};\n"
    runs = lower_runs()
    text += f"constexpr std::array<LowerRun, {len(runs)}> kLower = {{{{\n"
    text += "\n".join(wrapped("{%d, %d, %d, %d}" % run for run in runs)) + "\n}};\n"
    text += "// In the order of UnicodeTable.\n"
    text += f"constexpr std::array<std::span<const std::uint32_t>, {len(names)}> kTables = {{\n"
    text += "\n".join(wrapped(names)) + "\n};\n"
    OUT.write_text(text + TAIL)


if __name__ == "__main__":
    main()
