#!/usr/bin/env python3
"""cubin_report OBJECT... — what the compiler has made of the CUDA kernels, from the cubins in them.

Seen without a GPU and without the toolkit's own tools, which read the same ELF sections: for every
architecture and kernel the registers, the local memory (a spilled register is a load or store of
local memory), and how often the instructions occur that the design counts. A number over its limit
is a regression of the compiled code. Objects are compiled with --no-compress.
"""

import collections
import re
import shutil
import struct
import subprocess
import sys

EM_CUDA = 190
ARCHITECTURES = {80, 90, 120}
# The low twelve bits of an instruction; the same from sm_80 to sm_120.
OPCODES = {
    0x23C: "HMMA", 0x237: "IMMA", 0x83B: "LDSM", 0x984: "LDS", 0x988: "STS", 0x388: "STS",
    0x981: "LDG", 0x986: "STG", 0x983: "LDL", 0x387: "STL", 0x987: "STL", 0x816: "PRMT",
    0x389: "SHFL", 0x589: "SHFL", 0x989: "SHFL", 0xF89: "SHFL", 0x3A8: "RED", 0x9A8: "RED",
}
NOP = 0x918

# Of every kernel but those named: no local memory at all. Trigonometry of large angles needs some.
MAY_USE_LOCAL = re.compile(r"rope_kernel")
DEFAULT_REGISTERS = 128
# Kernel, registers, and counts: exact where the design counts them, else at most.
# A linear of T rows has four mma.m16n8k16 for a block of 64 columns and 8 rows, whatever shares a
# scale; its loop is as many blocks long as it loads ahead (linear.cu, depth_of()). 4-bit codes take
# sixteen permutes and sixteen loads of the table a block, 8-bit codes sixteen permutes.
FORMS = {0: ("kBook16", 4), 1: ("kInt8", 2), 2: ("kHalf", 2)}
# "block": at most so many instructions a block of 64 columns, on any architecture; with them those
# that only offsets or only nested scales need, and that others jump over (NF4 runs 88 of its 120
# on sm_90). The design's 61 had the scales of four blocks in one load and no offsets.
BLOCKS = {(0, 8, 4): 126, (0, 16, 4): 160, (1, 8, 4): 126, (1, 16, 4): 169, (2, 8, 4): 64,
          (2, 16, 4): 63}
# Experts' rows of x are found through a list, which formats with offsets read again in each block.
EXPERT_BLOCKS = {(0, 8, 4): 136, (0, 16, 4): 198, (1, 8, 4): 147, (1, 16, 4): 201, (2, 8, 4): 64,
                 (2, 16, 4): 66}
# With what adapters add to a tile: the same loop, and behind it four products for sixteen ranks.
LORA_BLOCKS = {(0, 8, 4): 125, (0, 16, 4): 158, (1, 8, 4): 132, (1, 16, 4): 167, (2, 8, 4): 65,
               (2, 16, 4): 64}
LINEARS = (("expert_linear_kernel<", "", EXPERT_BLOCKS, 0),
           ("cuda::linear_kernel<", ", tessera::cuda::LinearParams", BLOCKS, 0),
           ("cuda::linear_kernel<", ", .*LinearLoraParams", LORA_BLOCKS, 4))
BUDGETS = []
for form, (_, ahead) in FORMS.items():
    for tokens in (8, 16, 64):
        depth = 1 if tokens == 64 else ahead
        for steps in (4, 2, 1):
            for name, params, blocks, more in LINEARS:
                BUDGETS.append((rf"{name}\(tessera::PackedForm\){form}, {tokens}, {steps}{params}>",
                                dict(HMMA=depth * tokens // 8 * 4 + more,
                                     block=blocks.get((form, tokens, steps), 0),
                                     registers=255 if tokens == 64 else 128)))
# The wide form: two tiles by 64 rows of a block of 64 columns, four products of 16 by 16 by 8 each;
# "all" is at most so many instructions, of which those of offsets and of a unit's end are most.
for form, most in ((0, 2480), (1, 2460), (2, 1770)):
    BUDGETS.append((rf"wide_kernel<\(tessera::PackedForm\){form}, \d>",
                    dict(HMMA=64, all=most, registers=255)))
# Attention: a lane keeps head_dim / 2 sums; in the wide tile, twice as many.
BUDGETS.append((r"attend_kernel<(64|96|128|256),", dict(registers=255)))
BUDGETS.append((r"attend_wide_kernel<", dict(registers=255)))


def cubins(path):
    """The CUDA ELF files inside an object."""
    data = open(path, "rb").read()
    at = data.find(b"\x7fELF", 1)
    while at >= 0:
        if struct.unpack_from("<H", data, at + 18)[0] == EM_CUDA:
            yield data[at:]
        at = data.find(b"\x7fELF", at + 4)


def sections(elf):
    offset = struct.unpack_from("<Q", elf, 0x28)[0]
    size, count, names_at = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, offset + i * size) for i in range(count)]
    names = headers[names_at][4]
    for header in headers:
        at = names + header[0]
        yield elf[at:elf.index(b"\0", at)].decode(), header


def architecture(elf):
    flags = struct.unpack_from("<I", elf, 0x30)[0]
    return flags & 0xFF if flags & 0xFF in ARCHITECTURES else flags >> 8 & 0xFF


def register_counts(elf, found):
    """{mangled name: registers}, from the records EIATTR_REGCOUNT of .nv.info."""
    headers = dict(found)
    symbols, strings = headers[".symtab"][4], headers[".strtab"][4]
    _, header = next(section for section in found if section[0] == ".nv.info")
    at, end = header[4], header[4] + header[5]
    counts = {}
    while at < end:
        kind, attribute, size = struct.unpack_from("<BBH", elf, at)
        if kind == 4 and attribute == 0x2F:
            symbol, registers = struct.unpack_from("<II", elf, at + 4)
            name = strings + struct.unpack_from("<I", elf, symbols + 24 * symbol)[0]
            counts[elf[name:elf.index(b"\0", name)].decode()] = registers
        at += 4 + (size if kind == 4 else 0)
    return counts


def demangled(name):
    return demangle([name])[0]


def demangle(names):
    if not shutil.which("c++filt") or not names:
        return names
    return subprocess.run(["c++filt", *names], check=True, capture_output=True,
                          text=True).stdout.splitlines()


def block_of(name, products):
    """Instructions of one block of 64 columns: from its first product to the next block's first."""
    linear = re.search(r"linear_kernel<\(tessera::PackedForm\)\d, (\d+), ", name)
    of_block = int(linear[1]) // 8 * 4 if linear else 0
    return products[of_block] - products[0] if 0 < of_block < len(products) else 0


def kernels(path):
    """(architecture, mangled name, registers, {opcode: count})"""
    for elf in cubins(path):
        found = list(sections(elf))
        registers = register_counts(elf, found)
        for name, header in found:
            if not name.startswith(".text."):
                continue
            offset, size = header[4], header[5]
            kernel = name[len(".text."):]
            counts = collections.Counter()
            products = []  # where the matrix instructions are
            for at in range(offset, offset + size, 16):
                opcode = struct.unpack_from("<H", elf, at)[0] & 0xFFF
                counts["all"] += opcode != NOP
                if OPCODES.get(opcode) == "HMMA":
                    products.append(counts["all"])
                if opcode in OPCODES:
                    counts[OPCODES[opcode]] += 1
            counts["block"] = block_of(demangled(kernel), products)
            yield architecture(elf), kernel, registers.get(kernel, 0), counts


def faults(name, registers, counts):
    budget = next((limits for pattern, limits in BUDGETS if re.search(pattern, name)), {})
    local = counts["LDL"] + counts["STL"]
    if local and not MAY_USE_LOCAL.search(name):
        yield f"{local} loads and stores of local memory"
    if registers == 0:
        yield "the cubin does not say how many registers"
    if registers > budget.get("registers", DEFAULT_REGISTERS):
        yield f"{registers} registers, over {budget.get('registers', DEFAULT_REGISTERS)}"
    if counts["block"] > budget.get("block", 0) > 0:
        yield f"{counts['block']} instructions a block, over {budget['block']}"
    if counts["all"] > budget.get("all", 0) > 0:
        yield f"{counts['all']} instructions, over {budget['all']}"
    for opcode, due in budget.items():
        if opcode not in ("registers", "block", "all") and counts[opcode] != due:
            yield f"{counts[opcode]} {opcode}, not {due}"


def main(paths):
    rows = [row for path in paths for row in kernels(path)]
    names = demangle([row[1] for row in rows])
    seen = {row[0] for row in rows}
    failed = seen != ARCHITECTURES
    if failed:
        print(f"architectures {sorted(seen)}, not {sorted(ARCHITECTURES)}")
    for (arch, _, registers, counts), name in sorted(zip(rows, names), key=lambda r: (r[1], r[0])):
        short = re.sub(r"\(tessera::PackedForm\)|\(anonymous namespace\)::|tessera::|^void ", "", name)
        short = re.sub(r"\(.*\)$", "", short)
        shown = " ".join(f"{key} {counts[key]}" for key in
                         ("all", "block", "HMMA", "LDSM", "LDS", "PRMT", "LDG", "LDL", "STL")
                         if counts[key])
        print(f"sm_{arch:<4}{registers:4} registers  {short}: {shown}")
        for fault in faults(name, registers, counts):
            print(f"    FAULT: {fault}")
            failed = True
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
