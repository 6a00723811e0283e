#!/usr/bin/env python3
"""make_safetensors_verdicts.py — what the Rust reference says of hostile safetensors headers.

Writes data/safetensors_verdicts.json, for safetensors_differential_test.cpp: files as [header, data
bytes, tensors], one a line. The header's characters are bytes; byte i of the data is i; tensors are
[name, dtype, shape, first byte, bytes], in the order of their names, or null where the reference
refuses the file. Sound headers are spaced and, most of them, damaged in up to three places, by a
fixed seed.

Usage, in an environment with safetensors:  make_safetensors_verdicts.py
"""

import json
import pathlib
import random
import struct

import safetensors

OUT = pathlib.Path(__file__).resolve().parent / "data" / "safetensors_verdicts.json"
SEED = 20260930
CASES = 700

SOUND = [
    ('{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},'
     '"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}', 32),
    ('{"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[2,2],"data_offsets":[4,12]},'
     '"v":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', 12),
    ('{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},'
     '"e":{"dtype":"I64","shape":[0,7],"data_offsets":[4,4]}}', 4),
    ('{"x":{"data_offsets":[0,8],"shape":[8,1],"dtype":"I8"}}   ', 8),
]
NUMBERS = ["0", "1", "2", "4", "8", "12", "24", "32", "00", "01", "-1", "-0", "1.0", "1e1", "1E0",
           "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551615",
           "18446744073709551616", "4611686018427387904", "1e400", "null", "true", '"4"', "[4]"]
DTYPES = ["F32", "F64", "BF16", "F16", "U8", "I8", "BOOL", "F8_E4M3", "F4", "C64", "I32", "f32",
          "F31", "", "F32 ", "\\u00464"]
PIECES = ["{", "}", "[", "]", ",", ":", '"', " ", "\\u0000", "\x00", "\xff", "\xc3\xa9", "\\ud800",
          '"a"', '"b"', ',"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}', '"__metadata__":{},',
          '"__metadata__":{"k":1},', '"strides":[1],', '"dtype":"U8",', "null", "{}", "/**/", "\n"]


def swapped_number(text, pick):
    spans, at = [], 0
    while at < len(text):
        end = at
        while end < len(text) and text[end].isdigit():
            end += 1
        if end > at and text[at - 1] in "[,":
            spans.append((at, end))
        at = max(end, at + 1)
    if not spans:
        return text
    begin, end = pick.choice(spans)
    return text[:begin] + pick.choice(NUMBERS) + text[end:]


def swapped_dtype(text, pick):
    begin = text.find('"dtype":"')
    if begin < 0:
        return text
    begin += len('"dtype":"')
    return text[:begin] + pick.choice(DTYPES) + text[text.find('"', begin):]


def inserted(text, pick):
    at = pick.randrange(len(text) + 1)
    return text[:at] + pick.choice(PIECES) + text[at:]


def spaced(text, pick):
    """White space between tokens, which changes nothing in a sound header."""
    at = pick.choice([i for i, c in enumerate(text) if c in ",:]}"] or [0])
    return text[:at + 1] + pick.choice(" \n\t") + text[at + 1:]


def cut(text, pick):
    at = pick.randrange(len(text))
    return text[:at] + text[at + pick.randrange(1, 4):]


def verdict(header, data_bytes):
    raw = header.encode("latin-1")
    file = struct.pack("<Q", len(raw)) + raw + bytes(range(data_bytes))
    try:
        tensors = safetensors.deserialize(file)
    except Exception:  # whatever it is called: it is refused
        return None
    return sorted([name, view["dtype"], list(view["shape"]), view["data"][0] if view["data"] else 0,
                   len(view["data"])] for name, view in tensors)


def main():
    pick = random.Random(SEED)
    cases, seen = [], set()
    changes = [swapped_number, swapped_number, swapped_dtype, inserted, cut]
    while len(cases) < CASES:
        header, data_bytes = pick.choice(SOUND)
        for _ in range(pick.choice([0, 0, 1, 1, 1, 2, 3])):
            header = pick.choice(changes)(header, pick) if header else header
        for _ in range(pick.randrange(4)):
            header = spaced(header, pick)
        data_bytes += pick.choice([0] * 12 + [1, -1])
        if (header, data_bytes) not in seen:
            seen.add((header, data_bytes))
            cases.append([header, data_bytes, verdict(header, data_bytes)])
    OUT.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    accepted = sum(case[2] is not None for case in cases)
    print(f"safetensors {safetensors.__version__}: {accepted} accepted, "
          f"{CASES - accepted} refused")


if __name__ == "__main__":
    main()
