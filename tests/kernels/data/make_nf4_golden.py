"""Makes nf4_golden.bin: what bitsandbytes' CPU quantiser gives for a few matrices.

    pip install torch bitsandbytes==0.50.2
    python make_nf4_golden.py

Little-endian; for each case
    int32    rows, cols, stored     stored == 1: the weights follow; 0: they are made by `hashed`
    float32  weights (rows, cols)   only if stored
    uint8    codes (rows * cols / 2,)     only if stored
    uint8    absmax_codes (rows * cols / 64,)
    float32  absmax_scales (ceil(rows * cols / 64 / 256),)
    float32  offset
    float32  absmax (rows * cols / 64,), decoded

The offset is a mean, whose bits depend on torch's number of threads for large inputs: one here.
"""
import pathlib

import numpy
import torch
from bitsandbytes import functional

SEED = 20261121


def hashed(rows, cols):
    """Weights in [-1, 1) that any language can make exactly: multiplicative hashing of the index,
    squashed a little differently in every row so that the absmax differ."""
    index = numpy.arange(rows * cols, dtype=numpy.uint64)
    word = (index * 2654435761) % 2**32
    unit = (word >> 8).astype(numpy.float32) / numpy.float32(2**23) - numpy.float32(1)
    scale = (1 + (index // cols) % 97).astype(numpy.float32) / numpy.float32(128)
    return torch.from_numpy((unit * scale).reshape(rows, cols))


def edges():
    """Blocks of 64 that sit on every threshold."""
    values = functional.get_4bit_type("nf4", device="cpu")
    middles = (values[:-1] + values[1:]) / 2
    up = torch.nextafter(middles, torch.tensor(2.0))
    down = torch.nextafter(middles, torch.tensor(-2.0))
    on_thresholds = torch.cat([middles, up, down, values, torch.tensor([0.0, -0.0, 1.0])])
    signs = torch.ones(64)
    signs[::2] = -1
    return torch.stack([
        on_thresholds,
        on_thresholds * 0.37,
        -on_thresholds,
        torch.zeros(64),
        torch.full((64,), 0.125),
        torch.full((64,), -3.0),
        signs * 3e38,
        signs * 1e-37,
        signs * 1e-39,
        torch.cat([torch.tensor([1.0]), torch.zeros(63)]),
        torch.linspace(-1, 1, 64),
    ])


def cases(random):
    def normal(rows, cols, std):
        return torch.randn(rows, cols, generator=random) * std

    yield normal(5, 64, 0.02), True
    yield edges(), True
    yield torch.zeros(6, 128), True
    yield torch.full((4, 64), 0.5), True
    yield normal(24, 1024, 0.03).bfloat16(), True  # 384 blocks: a group of 256 and half of one
    yield normal(3, 5632, 1.0), True  # 264 blocks: a last group of 8
    yield hashed(512, 2048), False  # 16384 blocks: every level of the cascaded mean
    yield hashed(77, 4160), False


def main():
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(SEED)
    with open(pathlib.Path(__file__).with_name("nf4_golden.bin"), "wb") as file:
        for weights, stored in cases(random):
            codes, state = functional.quantize_4bit(
                weights, blocksize=64, compress_statistics=True, quant_type="nf4")
            nested = functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
            parts = [numpy.array([*weights.shape, stored], dtype="<i4")]
            if stored:
                parts += [weights.float().numpy(), codes.numpy()]
            parts += [state.absmax.numpy(), state.state2.absmax.numpy(), state.offset.numpy(),
                      nested.numpy()]
            for part in parts:
                file.write(part.tobytes())


if __name__ == "__main__":
    main()
