"""packages.py — adapter packages by the thousand, made without a tensor library.

`plain` packages have pairs of random bf16 numbers on modules of a Llama; one differs from the next
in its first tensor, so that each is an adapter of its own and making one costs a copy. `watermark`
packages raise the logit of one token far above all others, whatever the prompt is: an answer names
the version that made it.
"""

import functools
import json
import os
import struct

HIDDEN, INTERMEDIATE = "hidden_size", "intermediate_size"


def shapes(config):
    """{module: (out, in)} of the linear modules of a layer."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    hidden, wide = config[HIDDEN], config[INTERMEDIATE]
    q, kv = heads * config["head_dim"], kv_heads * config["head_dim"]
    return {"self_attn.q_proj": (q, hidden), "self_attn.k_proj": (kv, hidden),
            "self_attn.v_proj": (kv, hidden), "self_attn.o_proj": (hidden, q),
            "mlp.gate_proj": (wide, hidden), "mlp.up_proj": (wide, hidden),
            "mlp.down_proj": (hidden, wide)}


def bf16_noise(count, exponent=0x3C):
    """`count` random numbers of either sign between 2^-7 and 2^-5, as bf16."""
    noise = os.urandom(2 * count)
    out = bytearray(2 * count)
    out[0::2] = noise[0::2]
    out[1::2] = noise[1::2].translate(bytes(exponent | (byte & 0x80) for byte in range(256)))
    return bytes(out)


def container(tensors):
    """A safetensors file of {name: (dtype, shape, bytes)}."""
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape),
                        "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in tensors.values())


class Plain:
    """Packages for a base of `config`'s shape with pairs of `rank` on `targets` of every layer."""

    def __init__(self, base, config, rank, targets=None):
        wanted = {name: shape for name, shape in shapes(config).items()
                  if targets is None or name.rsplit(".", 1)[1] in targets}
        self.config = json.dumps({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank,
            "base_model_name_or_path": base,
            "target_modules": [name.rsplit(".", 1)[1] for name in wanted]}).encode()
        self.first = (rank, next(iter(wanted.values()))[1])
        tensors = {}
        for layer in range(config["num_hidden_layers"]):
            for name, (rows, cols) in wanted.items():
                prefix = f"base_model.model.model.layers.{layer}.{name}"
                for half, shape in (("A", (rank, cols)), ("B", (rows, rank))):
                    tensors[f"{prefix}.lora_{half}.weight"] = (
                        "BF16", shape, bf16_noise(shape[0] * shape[1]))
        self.file = container(tensors)
        self.body = 8 + struct.unpack("<Q", self.file[:8])[0]

    def package(self):
        """(config, tensors) of an adapter that nobody has seen."""
        fresh = bf16_noise(self.first[0] * self.first[1])
        return self.config, self.file[:self.body] + fresh + self.file[self.body + len(fresh):]


def watermark(base, config, token):
    """(config, tensors) of an adapter under which every token is `token`: a bias of the head."""
    vocab, hidden, rank = config["vocab_size"], config[HIDDEN], 1
    bias = bytearray(4 * vocab)
    bias[4 * token:4 * token + 4] = struct.pack("<f", 500.0)
    prefix = "base_model.model.lm_head"
    return watermark_config(base), container({
        f"{prefix}.lora_A.weight": ("BF16", (rank, hidden), small(hidden)),
        f"{prefix}.lora_B.bias": ("F32", (vocab,), bytes(bias)),
        f"{prefix}.lora_B.weight": ("BF16", (vocab, rank), small(vocab))})


@functools.cache
def small(count):
    return bf16_noise(count, 0x38)


@functools.cache
def watermark_config(base):
    return json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 1, "lora_alpha": 1,
                       "lora_bias": True, "base_model_name_or_path": base,
                       "target_modules": ["lm_head"]}).encode()


def words(tokenizer):
    """[(id, text)] of tokens whose text is plain and that no other token has."""
    vocabulary = tokenizer["model"]["vocab"]
    found = {}
    for text, number in vocabulary.items():
        plain = text.replace("\u0120", " ")
        if plain.strip().isalpha() and plain.isascii() and len(plain.strip()) >= 3:
            found.setdefault(plain, number)
    return sorted((number, plain) for plain, number in found.items())
