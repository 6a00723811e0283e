#!/usr/bin/env python3
"""amx_codegen OBJECT... — what the compiler has made of the AMX micro-kernels, from objdump.

Seen without a machine that could run or time them: that a block takes the tile products it must and
no more, that decoding and scaling take the vector instructions they should, and that the sums stay
in registers. A number over its limit is a regression of the compiled code; one under it is welcome,
but for the tile instructions, which are what the result is made of.
"""

import collections
import re
import shutil
import subprocess
import sys

# By form, of a micro-kernel for 16 rows: one block, one group.
TILE_INSTRUCTIONS = {
    "BookDigits": dict(tileloadd=4, tdpbssd=4, tilestored=3, tilezero=3),
    "IntegerDigits": dict(tileloadd=3, tdpbssd=2, tilestored=2, tilezero=2),
}
VECTOR_LIMITS = {
    # Decoding: four permutes and a shift for each of 8 words.
    # Scaling: 16 rows of two shifts, two additions, a conversion, a product and a multiply-add.
    "BookDigits": dict(vpermb=32, vpsrlw=8, vpslld=32, vpaddd=32, vcvtdq2ps=16, vmulps=16,
                       vfmadd=16),
    # Two shifts and two blends for each two of 16 words; a row has one shift and one addition. The
    # scales are multiplied once more.
    "IntegerDigits": dict(vpsllw=8, vpsrlw=8, vpblendmb=16, vmovdqu8=16, vpslld=16, vpaddd=16,
                          vcvtdq2ps=16, vmulps=17, vfmadd=16),
}
SPILL_LIMIT = 4  # the two tables of digits, once a call and once a block
# Left factors and right factors have their own registers (amx_tiles.hpp).
PRODUCT = re.compile(r"tdpbssd\s+%tmm([67]),%tmm([45]),%tmm([012])$")
STACK = r"-?(0x)?[0-9a-f]*\(%r[sb]p\)"
SPILL = re.compile(rf"vmov\w+\s+(%zmm\d+,{STACK}|{STACK},%zmm\d+)$")


def functions(objects):
    """{demangled name: [instruction, ...]}"""
    listing = subprocess.run(["objdump", "-d", "-C", "--no-show-raw-insn", *objects], check=True,
                             capture_output=True, text=True).stdout
    found = collections.defaultdict(list)
    name = None
    for line in listing.splitlines():
        if heading := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            name = heading[1]
        elif name and (instruction := re.match(r"\s+[0-9a-f]+:\t(.*\S)", line)):
            found[name].append(instruction[1])
    return found


def count(instructions, mnemonic):
    return sum(line.split()[0].startswith(mnemonic) for line in instructions)


def faults(form, instructions):
    for mnemonic, due in TILE_INSTRUCTIONS[form].items():
        if (is_ := count(instructions, mnemonic)) != due:
            yield f"{is_} {mnemonic}, not {due}"
    for mnemonic, limit in VECTOR_LIMITS[form].items():
        if (is_ := count(instructions, mnemonic)) > limit:
            yield f"{is_} {mnemonic}, more than {limit}"
    for line in instructions:
        if line.startswith("tdpbssd") and not PRODUCT.match(line):
            yield f"factors in the wrong registers: {line}"
    if (spilled := sum(SPILL.match(line) is not None for line in instructions)) > SPILL_LIMIT:
        yield f"{spilled} moves of vectors to or from the stack, more than {SPILL_LIMIT}"


def main():
    if shutil.which("objdump") is None:
        print("skipped: no objdump here")
        sys.exit(77)
    found = functions(sys.argv[1:])
    failed = False
    for form in TILE_INSTRUCTIONS:
        weights = f"tessera::amx::GroupDigits<tessera::amx::{form}, 1ul, false>"
        name = f"MicroKernel<{weights}, 4ul>::run("
        kernels = [body for title, body in found.items() if name in title]
        if len(kernels) != 1:
            sys.exit(f"{form}: {len(kernels)} functions {name}...")
        instructions = kernels[0]
        mnemonics = list(TILE_INSTRUCTIONS[form]) + list(VECTOR_LIMITS[form])
        print(f"{form}:", ", ".join(f"{count(instructions, each)} {each}" for each in mnemonics))
        for fault in faults(form, instructions):
            failed = True
            print(f"  {fault}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
