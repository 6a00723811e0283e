"""texts.py — strings that tokenizers may disagree about, from a seed.

Words, code, digits, runs of white space, emoji sequences, combining marks, every plane of Unicode,
bytes that are no UTF-8 (as a reader gets them: replaced), and what looks like special tokens.
"""

import random

SEED = 20261121
WORDS = """the of lamp Hall isn't I'LL we've don’t naïve Straße Ünïcödé façade e\u0301 日本語 한국어 العربية हिन्दी
ไทย русский ελληνικά עברית ქართული Tiếng\u00a0Việt 1234567 3.14 1,000,000 ²³¹ Ⅷ ½ ٣٤٥ ४५ x=1; {"a":1}
CamelCase snake_case __init__ http://a.b/c?d=e#f foo@bar.baz -- --- … “quoted” «guillemets» (paren)
!!! ?!? $9.99 £5 €20 100% #tag @user a/b \\n \\t <div> </p> <|end|> <s> </s> <unk> [CLS] [SEP] [MASK] <pad>
<0x41> <0xE2> ▁ ▁the ##ing Ġthe Ċ ﬁ ﬀ ﬆ Å K Ω İ ı ſ ß ẞ Σς ǅ ΐ 𝕏 𝔘𝔫𝔦 ｆｕｌｌ ﾊﾝｶｸ ㌔ ㈱ ① ™ ª º""".split()
CODE = ["def f(x):\n    return x + 1\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n",
        "SELECT * FROM t WHERE a >= 10;", "x = [i**2 for i in range(10)]\n\n\n", "#include <vector>",
        "if (!ok) return {};\r\n", "\t\t\tif x:\r\n\t\t\t\tpass", "0xDEADBEEF | 0b1010 & ~mask", "/* c */"]
EMOJI = ["👨‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "1️⃣", "❤️", "😀😃", "🧑🏿‍🚀", "☺", "🫠", "🪿", "🫨", "🏴\U000e0067\U000e0062\U000e007f"]
SPACES = " \t\n\r\v\f\u0085\u00a0\u1680\u180e\u2003\u2009\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u3000\ufeff"
RANGES = [(0x20, 0x7f), (0x80, 0x250), (0x250, 0x370), (0x370, 0x600), (0x600, 0x780),
          (0x900, 0xe00), (0xe00, 0x1200), (0x1100, 0x1200), (0x1e00, 0x2070), (0x2070, 0x2c00),
          (0x2e80, 0x3100), (0x3040, 0x9fff), (0xac00, 0xd7a4), (0xf900, 0xffff), (0x10000, 0x11000),
          (0x11000, 0x12000), (0x1d400, 0x1d800), (0x1e000, 0x1f000), (0x1f300, 0x1faff),
          (0x20000, 0x20100), (0x2ebf0, 0x2ee60), (0x30000, 0x323b0), (0xe0000, 0xe0200)]
MARKS = [chr(c) for c in (*range(0x300, 0x370), 0x483, 0x5b0, 0x64b, 0x93c, 0x94d, 0xe31, 0x1dc0,
                          0x20d0, 0x3099, 0xfe0f, 0x1df6, 0x10d24, 0x11f5a)]


def code_point(rng, low, high):
    c = rng.randrange(low, high)
    return chr(c) if not 0xd800 <= c < 0xe000 else "\ufffd"


def words(rng, specials):
    joins = ["", " ", " ", " ", "  ", "\n", "   ", ", ", ". "]
    pools = [WORDS, WORDS, EMOJI, CODE, specials or WORDS]
    return "".join(rng.choice(rng.choice(pools)) + rng.choice(joins)
                   for _ in range(rng.randrange(1, 14)))


def points(rng, specials):
    return "".join(code_point(rng, *rng.choice(RANGES)) if rng.random() < 0.8
                   else rng.choice(" \t\n\r.'") for _ in range(rng.randrange(40)))


def planes(rng, specials):
    return "".join(code_point(rng, 0, 0x110000) for _ in range(rng.randrange(30)))


def spaces(rng, specials):
    return "".join(rng.choice(SPACES) * rng.randrange(1, 5) if rng.random() < 0.6
                   else rng.choice("a1.'s\"é中") for _ in range(rng.randrange(20)))


def digits(rng, specials):
    return "".join(rng.choice("0123456789") * rng.randrange(1, 3) if rng.random() < 0.8
                   else rng.choice(" ,.-eExX٣४²½%") for _ in range(rng.randrange(24)))


def marks(rng, specials):
    return "".join(rng.choice("aeioucnsAEOU가ᄀ각か\u0915क\u0627 ") +
                   "".join(rng.choice(MARKS) for _ in range(rng.randrange(3)))
                   for _ in range(rng.randrange(12)))


def broken(rng, specials):
    data = bytearray(words(rng, specials).encode())
    for _ in range(rng.randrange(1, 6)):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[rng.randrange(3):]).decode("utf-8", "replace")


def look_alikes(rng, specials):
    out = ""
    for _ in range(rng.randrange(1, 6)):
        token = rng.choice(specials or ["<|end|>"])
        cut = rng.randrange(len(token) + 1)
        out += rng.choice([token, token[:cut], token[cut:], " " + token + " ", token.upper(),
                           token + token[:cut], "a" + token + "b", token + "\n"])
    return out


def runs(rng, specials):
    return "".join(rng.choice(["a", "ab", "the", " ", "-", "=", "中", "é", "0", "👍", "\n"]) *
                   rng.randrange(1, 60) for _ in range(rng.randrange(1, 4)))


KINDS = (words, words, words, points, planes, spaces, digits, marks, broken, look_alikes, runs)


def strings(count, specials):
    """`count` strings; `specials` are the added tokens of the tokenizer they are for."""
    rng = random.Random(SEED)
    for _ in range(count):
        yield rng.choice(KINDS)(rng, specials)
