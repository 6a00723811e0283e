"""Logits of a whole model with adapters: ours against transformers and PEFT.

A model of random weights in the shape of a published one; its linear layers quantised to NF4 by
bitsandbytes' definition, written out here once more; adapters of different ranks, one for each
sequence of a batch and one sequence without. transformers gets the same numbers dequantised, in
fp32, and PEFT the same adapters.

    whole_model.py DRIVER BACKEND SHAPE [--device cuda]      prints one line of JSON
"""
import argparse
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

import torch
import transformers
from peft import LoraConfig, get_peft_model

SHAPES = {
    "tiny": dict(kind="llama", vocab=300, hidden=64, inter=192, heads=4, kv=2, dim=16, layers=2),
    "llama-3.2-1b": dict(kind="llama", vocab=128256, hidden=2048, inter=8192, heads=32, kv=8,
                         dim=64, layers=16),
    "qwen2.5-0.5b": dict(kind="qwen2", vocab=151936, hidden=896, inter=4864, heads=14, kv=2,
                         dim=64, layers=24),
}
RANKS = (8, 16, 24, 32, 8, 12, 48, 64)
LINEARS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
NF4 = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0])


def dynamic_map():
    """bitsandbytes' signed dynamic code book of eight bits."""
    values = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2**exponent + 1, dtype=torch.float32)
        means = ((edges[:-1] + edges[1:]) / 2).tolist()
        values += [sign * 10.0 ** (exponent - 6) * mean for mean in means for sign in (1, -1)]
    return torch.tensor(sorted(values), dtype=torch.float32)


def nearest(values, book):
    return torch.bucketize(values, ((book[:-1] + book[1:]) / 2).to(values.device))


class Nf4:
    """A quantised matrix: what the file has of it, and its weights."""

    def __init__(self, weight):
        blocks = weight.reshape(-1, 64)
        absmax = blocks.abs().amax(1)
        codes = nearest(blocks / absmax[:, None], NF4)
        self.offset = absmax.mean()
        rest = absmax - self.offset
        padded = torch.nn.functional.pad(rest, (0, -len(rest) % 256)).reshape(-1, 256)
        self.scales = padded.abs().amax(1)
        book = dynamic_map().to(weight.device)
        nested = nearest(padded / self.scales[:, None].clamp_min(1e-30), book)
        decoded = (book[nested] * self.scales[:, None]).reshape(-1)[: len(rest)] + self.offset
        self.weight = (NF4.to(weight.device)[codes] * decoded[:, None]).reshape(weight.shape)
        flat = codes.reshape(-1, 2).to(torch.uint8)
        self.codes = flat[:, 0] << 4 | flat[:, 1]
        self.absmax_codes = nested.reshape(-1)[: len(rest)].to(torch.uint8)

    def write(self, out):
        for part in (self.codes, self.absmax_codes, self.scales):
            write(out, part)
        out.write(struct.pack("<f", self.offset.item()))


def write(out, tensor):
    tensor = tensor.detach().contiguous().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    out.write(tensor.numpy().tobytes())


def make_model(shape, device):
    common = dict(vocab_size=shape["vocab"], hidden_size=shape["hidden"],
                  intermediate_size=shape["inter"], num_hidden_layers=shape["layers"],
                  num_attention_heads=shape["heads"], num_key_value_heads=shape["kv"],
                  tie_word_embeddings=True, max_position_embeddings=8192,
                  attn_implementation="eager")
    if shape["kind"] == "llama":
        config = transformers.LlamaConfig(head_dim=shape["dim"], **common)
        model = transformers.LlamaForCausalLM(config)
    else:
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**common))
    model = model.to(device=device, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data = 1 + 0.1 * torch.randn_like(parameter)
        elif name.endswith("bias"):
            parameter.data = torch.randn_like(parameter)
        elif "embed" in name:
            # bf16 in the file; wide enough that logits have a top one.
            values = torch.randn_like(parameter) * 2 / math.sqrt(shape["hidden"])
            parameter.data = values.to(torch.bfloat16).to(torch.float32)
        else:
            parameter.data = torch.randn_like(parameter) / math.sqrt(parameter.shape[-1])
    return model


def write_model(out, model, shape):
    inner = model.model
    has_bias = inner.layers[0].self_attn.q_proj.bias is not None
    out.write(struct.pack("<8if", shape["vocab"], shape["hidden"], shape["inter"], shape["heads"],
                          shape["kv"], shape["dim"], shape["layers"], int(has_bias),
                          model.config.rms_norm_eps))
    write(out, inner.rotary_emb.inv_freq.to(torch.float32))
    write(out, inner.embed_tokens.weight.to(torch.bfloat16))
    write(out, inner.norm.weight)
    for layer in inner.layers:
        write(out, layer.input_layernorm.weight)
        write(out, layer.post_attention_layernorm.weight)
        for name in LINEARS:
            linear = layer.get_submodule(name)
            packed = Nf4(linear.weight.data)
            linear.weight.data = packed.weight
            packed.write(out)
            if has_bias and name in LINEARS[:3]:
                write(out, linear.bias)


def add_adapters(model, ranks):
    """PEFT adapters "0", "1", ... whose numbers bf16 has."""
    peft = None
    for index, rank in enumerate(ranks):
        config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0,
                            target_modules=[name.split(".")[1] for name in LINEARS])
        if peft is None:
            peft = get_peft_model(model, config, adapter_name=str(index))
        else:
            peft.add_adapter(str(index), config)
    for name, parameter in peft.named_parameters():
        if "lora_A" in name:
            values = torch.randn_like(parameter) / math.sqrt(parameter.shape[1])
        elif "lora_B" in name:
            values = 0.3 * torch.randn_like(parameter) / math.sqrt(parameter.shape[1])
        else:
            continue
        parameter.data = values.to(torch.bfloat16).to(torch.float32)
    return peft.eval()


def write_adapters(out, peft, ranks):
    layers = peft.base_model.model.model.layers
    out.write(struct.pack("<i", len(ranks)))
    for index, rank in enumerate(ranks):
        out.write(struct.pack("<i", rank))
        for layer in layers:
            for name in LINEARS:
                module = layer.get_submodule(name)
                write(out, module.lora_A[str(index)].weight)
                write(out, 2.0 * module.lora_B[str(index)].weight)


@torch.no_grad()
def expected_logits(peft, sequences, device):
    rows = []
    for slot, tokens in sequences:
        ids = torch.tensor([tokens], device=device)
        if slot < 0:
            with peft.disable_adapter():
                logits = peft(ids).logits
        else:
            peft.set_adapter(str(slot))
            logits = peft(ids).logits
        rows.append(logits[0, -1].float().cpu())
    return torch.stack(rows)


def compare(actual, expected):
    """What differs, and whether it is noise."""
    error = (actual - expected).abs().amax(1) / expected.abs().amax(1)
    ours = torch.log_softmax(actual.double(), -1)
    theirs = torch.log_softmax(expected.double(), -1)
    divergence = (theirs.exp() * (theirs - ours)).sum(-1)
    top = expected.topk(2).values
    is_clear = top[:, 0] - top[:, 1] > 4 * (actual - expected).abs().amax(1)
    agrees = actual.argmax(-1) == expected.argmax(-1)
    return dict(worst_relative=error.max().item(), worst_kl=divergence.max().item(),
                clear=int(is_clear.sum()), agree=int(agrees.sum()), rows=len(actual),
                passed=bool(error.max() <= 1e-2 and divergence.max() <= 1e-4
                            and agrees[is_clear].all()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("backend")
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(20261121)
    torch.backends.cuda.matmul.allow_tf32 = False
    shape = SHAPES[arguments.shape]
    model = make_model(shape, arguments.device)
    length = 12 if arguments.shape == "tiny" else 40
    sequences = [(slot, torch.randint(shape["vocab"], (length + slot,)).tolist())
                 for slot in range(-1, len(RANKS))]
    with tempfile.TemporaryDirectory() as folder:
        case, logits = os.path.join(folder, "case"), os.path.join(folder, "logits")
        with open(case, "wb") as out:
            write_model(out, model, shape)
            peft = add_adapters(model, RANKS)
            write_adapters(out, peft, RANKS)
            out.write(struct.pack("<i", len(sequences)))
            for slot, tokens in sequences:
                out.write(struct.pack(f"<{len(tokens) + 2}i", slot, len(tokens), *tokens))
        expected = expected_logits(peft, sequences, arguments.device)
        subprocess.run([arguments.driver, arguments.backend, case, logits], check=True)
        with open(logits, "rb") as file:
            actual = torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
    result = compare(actual.reshape(expected.shape), expected)
    print(json.dumps(dict(shape=arguments.shape, backend=arguments.backend, **result)))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
