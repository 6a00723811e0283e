"""make_source_goldens.py — small quantised checkpoints with the values their own code reads from them.

    python3 make_source_goldens.py

Writes sources/*.safetensors and sources/blocks.gguf beside this file. Made with torch 2.15.0,
bitsandbytes 0.50.2, gguf 0.19.0, compressed-tensors 0.20.0 and AutoAWQ 0.2.9, on the CPU, one thread.

In each file the tensors of module NAME are as a checkpoint has them, and "expected.NAME" is what the
reference gives in fp32:

  bitsandbytes   bitsandbytes.functional.dequantize_4bit, but for blocks that go beyond rows
  awq            awq.utils.packing_utils.dequantize_gemm (loaded as one file: the package itself asks
                 for a GPU's compiler), in fp32
  compressed     compressed_tensors: unpack_from_int32, then its own dequantize
  fp8            torch's float8_e4m3fn times the scales, as transformers' documentation has it
  gptq           GPTQModel does not import on a bare CPU, so its documented layout is followed here:
                 (code - zero) * scale of the unpacked words, zero points raised as whole words
  blocks.gguf    gguf.quants.dequantize; blocks of the K types are random bytes with sane scales,
                 since gguf-py does not write these
"""

import importlib.util
import pathlib

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
OUT = HERE / "sources"


def random(seed, *shape, scale=0.05):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator) * scale


def bitsandbytes_file():
    import bitsandbytes.functional as bnb

    tensors = {}
    cases = [("nf4_nested", "nf4", True, 64, (66, 256)), ("nf4_plain", "nf4", False, 64, (8, 128)),
             ("fp4_nested", "fp4", True, 64, (16, 192)), ("fp4_plain", "fp4", False, 64, (8, 128)),
             ("fp4_wide", "fp4", False, 128, (8, 256)),
             ("odd_blocks", "nf4", False, 256, (8, 128))]
    for seed, (name, kind, nested, block, shape) in enumerate(cases):
        weight = random(seed, *shape)
        codes, state = bnb.quantize_4bit(weight, blocksize=block, quant_type=kind,
                                         compress_statistics=nested)
        tensors[f"{name}.weight"] = codes
        for key, value in state.as_dict(packed=True).items():
            tensors[f"{name}.weight.{key}"] = value
        tensors[f"expected.{name}"] = bnb.dequantize_4bit(codes, state).reshape(shape)
        assert tensors[f"expected.{name}"].dtype == torch.float32
        if block > shape[1]:
            # The CPU kernel of this version takes wrong scales where blocks go beyond rows: its
            # values are further from the weights than those of the layout's definition.
            pairs = codes.flatten()
            each = torch.stack([pairs >> 4, pairs & 15], 1).flatten().long()
            values = (state.code[each] * state.absmax.repeat_interleave(block)).reshape(shape)
            assert (values - weight).norm() < (tensors[f"expected.{name}"] - weight).norm()
            tensors[f"expected.{name}"] = values
        if name in ("nf4_plain", "fp4_plain"):
            tensors[f"source.{name}"] = weight
    save(tensors, "bitsandbytes")


def words_along(codes, bits, dim):
    """Packs codes into int32 words, the lowest bits first, along `dim`."""
    per_word = 32 // bits
    codes = codes.movedim(dim, -1).to(torch.int64)
    codes = codes.reshape(*codes.shape[:-1], -1, per_word)
    shifts = torch.arange(per_word) * bits
    words = (codes << shifts).sum(-1)
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    return words.movedim(-1, dim).contiguous()


def gptq_file():
    tensors = {}
    #        name              bits  group  order  symmetric  first format
    cases = [("sym_g32", 4, 32, False, True, True), ("asym_g64", 4, 64, False, False, True),
             ("order_g32", 4, 32, True, False, True), ("order_sym", 4, 64, True, True, True),
             ("whole_row", 8, 128, False, False, True), ("sym_8bit", 8, 64, False, True, True),
             ("uneven", 4, 32, True, False, True)]
    for seed, (name, bits, group, order, symmetric, _) in enumerate(cases):
        out, cols = 16, 128
        generator = torch.Generator().manual_seed(100 + seed)
        groups = cols // group
        codes = torch.randint(0, 2**bits, (cols, out), generator=generator)
        zeros = torch.full((groups, out), 2 ** (bits - 1))
        if not symmetric:
            zeros = torch.randint(1, 2**bits, (groups, out), generator=generator)
        scales = (torch.rand(groups, out, generator=generator) * 0.02 + 0.001).half()
        g_idx = torch.arange(cols) // group
        if order:
            g_idx = g_idx[torch.randperm(cols, generator=generator)]
        if name == "uneven":
            g_idx[0] = (g_idx[1] + 1) % groups
            g_idx[1] = g_idx[0]
        tensors[f"{name}.qweight"] = words_along(codes, bits, 0)
        tensors[f"{name}.qzeros"] = words_along(zeros - 1, bits, 1)
        tensors[f"{name}.scales"] = scales
        tensors[f"{name}.g_idx"] = g_idx.to(torch.int32)
        values = (codes - zeros[g_idx]).float() * scales.float()[g_idx]
        tensors[f"expected.{name}"] = values.t().contiguous()
    # The second format keeps zero points as they are, also those of 0.
    zeros = torch.randint(0, 16, (4, 16), generator=generator)
    codes = torch.randint(0, 16, (128, 16), generator=generator)
    tensors["v2.qweight"] = words_along(codes, 4, 0)
    tensors["v2.qzeros"] = words_along(zeros, 4, 1)
    tensors["v2.scales"] = scales = torch.rand(4, 16, generator=generator).half()
    g_idx = torch.arange(128) // 32
    tensors["expected.v2"] = ((codes - zeros[g_idx]).float() * scales.float()[g_idx]).t().contiguous()
    save(tensors, "gptq")


def awq_packing():
    path = importlib.util.find_spec("awq").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location(
        "packing_utils", pathlib.Path(path) / "utils" / "packing_utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def awq_file():
    packing = awq_packing()
    tensors = {}
    for seed, (name, group) in enumerate([("g32", 32), ("g128", 128)]):
        generator = torch.Generator().manual_seed(200 + seed)
        cols, out = 128, 24
        words = [torch.randint(-2**31, 2**31 - 1, shape, generator=generator, dtype=torch.int64)
                 .to(torch.int32) for shape in [(cols, out // 8), (cols // group, out // 8)]]
        scales = (torch.rand(cols // group, out, generator=generator) * 0.02).half()
        tensors[f"{name}.qweight"], tensors[f"{name}.qzeros"] = words
        tensors[f"{name}.scales"] = scales
        values = packing.dequantize_gemm(*words, scales.float(), 4, group)
        tensors[f"expected.{name}"] = values.t().contiguous()
    save(tensors, "awq")


def compressed_file():
    from compressed_tensors.compressors.pack_quantized.helpers import (pack_to_int32,
                                                                       unpack_from_int32)
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    tensors = {}
    for seed, (name, bits, group, symmetric) in enumerate(
            [("sym", 4, 32, True), ("asym", 4, 64, False), ("eight", 8, 128, True)]):
        generator = torch.Generator().manual_seed(300 + seed)
        out, cols = 16, 128
        half = 2 ** (bits - 1)
        codes = torch.randint(-half, half, (out, cols), generator=generator).to(torch.int8)
        scale = (torch.rand(out, cols // group, generator=generator) * 0.02).bfloat16()
        zero = None
        packed = pack_to_int32(codes, bits)
        tensors[f"{name}.weight_packed"] = packed
        tensors[f"{name}.weight_scale"] = scale
        tensors[f"{name}.weight_shape"] = torch.tensor([out, cols])
        if not symmetric:
            zero = torch.randint(-half, half, scale.shape, generator=generator).to(torch.int8)
            tensors[f"{name}.weight_zero_point"] = pack_to_int32(zero, bits, packed_dim=0)
        args = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, strategy="group",
                                group_size=group)
        unpacked = unpack_from_int32(packed, bits, torch.Size([out, cols]))
        tensors[f"expected.{name}"] = dequantize(unpacked, scale.float(), zero, args)
    codes = torch.randint(-128, 128, (16, 128), generator=generator).to(torch.int8)
    scale = torch.rand(16, 1, generator=generator) * 0.02
    tensors["int8.weight"], tensors["int8.weight_scale"] = codes, scale
    tensors["expected.int8"] = codes.float() * scale
    save(tensors, "compressed")


def fp8_file():
    tensors = {}
    weight = random(400, 160, 192, scale=40.0).to(torch.float8_e4m3fn)
    small = random(401, 16, 64, scale=40.0).to(torch.float8_e4m3fn)
    every = torch.arange(256, dtype=torch.uint8)
    every[0x7F] = every[0xFF] = 0  # no numbers
    every = every.view(torch.float8_e4m3fn).reshape(4, 64)
    blocks = torch.rand(2, 2) * 0.01
    tensors["blocks.weight"], tensors["blocks.weight_scale_inv"] = weight, blocks
    spread = blocks.repeat_interleave(128, 0)[:160].repeat_interleave(128, 1)[:, :192]
    tensors["expected.blocks"] = weight.float() * spread
    tensors["channel.weight"] = small
    tensors["channel.weight_scale"] = (torch.rand(16, 1) * 0.01).bfloat16()
    tensors["expected.channel"] = small.float() * tensors["channel.weight_scale"].float()
    tensors["tensor.weight"], tensors["tensor.weight_scale"] = every, torch.tensor(0.03125)
    tensors["expected.tensor"] = every.float() * 0.03125
    save(tensors, "fp8")


def random_blocks(rng, kind, rows, cols):
    """Rows of a K type's blocks: random codes and scales, half-precision factors that are sane."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (rows * cols // block, size), dtype=np.uint8)
    factor = rng.uniform(0.0005, 0.01, len(raw)).astype(np.float16).view(np.uint8).reshape(-1, 2)
    if kind == gguf.GGMLQuantizationType.Q6_K:
        raw[:, -2:] = factor
    else:
        raw[:, :2] = factor
        raw[:, 2:4] = factor[::-1]
    return raw.reshape(rows, cols // block * size)


def gguf_file():
    rng = np.random.default_rng(500)
    types = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(OUT / "blocks.gguf", "llama")
    writer.add_uint32("test.u32", 7)
    writer.add_array("test.strings", ["a", "", "b c"])
    expected = {}
    for kind in [types.F32, types.F16, types.BF16, types.Q4_0, types.Q4_1, types.Q5_0, types.Q5_1,
                 types.Q8_0, types.Q4_K, types.Q5_K, types.Q6_K]:
        rows, cols = 4, 512
        if kind in (types.Q4_K, types.Q5_K, types.Q6_K):
            data = random_blocks(rng, kind, rows, cols)
        else:
            weight = rng.normal(0, 0.05, (rows, cols)).astype(np.float32)
            data = gguf.quants.quantize(weight, kind)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        values = gguf.quants.dequantize(data, kind).astype(np.float32)
        expected[f"expected.{kind.name}"] = torch.from_numpy(values.reshape(rows, cols).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save(expected, "blocks")


def save(tensors, name):
    save_file({key: value.contiguous() for key, value in tensors.items()},
              OUT / f"{name}.safetensors")


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    OUT.mkdir(exist_ok=True)
    for make in [bitsandbytes_file, gptq_file, awq_file, compressed_file, fp8_file, gguf_file]:
        make()


if __name__ == "__main__":
    main()
