"""gguf_files.py — a model and an adapter with random weights, as files that llama.cpp loads.

The formats are those that `llama-quantize ... Q4_0` gives a model with tied embeddings: Q4_0 for
the linears, Q6_K for the embedding, or Q8_0 where its width is no multiple of 256. The quantised
bytes are drawn directly, with scales that keep activations near one, so a file takes seconds.
"""

import gguf
import numpy as np

Q = gguf.GGMLQuantizationType
EMBEDDING_DEVIATION = 0.02


def linears(shape):
    """GGUF's name of each linear of a layer: (outputs, inputs)."""
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    q_width = shape["num_attention_heads"] * shape["head_dim"]
    kv_width = shape["num_key_value_heads"] * shape["head_dim"]
    return {"attn_q": (q_width, hidden), "attn_k": (kv_width, hidden), "attn_v": (kv_width, hidden),
            "attn_output": (hidden, q_width), "ffn_gate": (inner, hidden),
            "ffn_up": (inner, hidden), "ffn_down": (hidden, inner)}


def embedding_type(shape):
    return Q.Q6_K if shape["hidden_size"] % 256 == 0 else Q.Q8_0


def write_model(path, shape, seed=1):
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(None, shape["model_type"])
    add_metadata(writer, shape)
    ones = np.ones(shape["hidden_size"], dtype=np.float32)
    kind = embedding_type(shape)
    writer.add_tensor("token_embd.weight",
                      random_matrix(random, kind, shape["vocab_size"], shape["hidden_size"]),
                      raw_dtype=kind)
    writer.add_tensor("output_norm.weight", ones)
    for layer in range(shape["num_hidden_layers"]):
        name = f"blk.{layer}."
        writer.add_tensor(name + "attn_norm.weight", ones)
        writer.add_tensor(name + "ffn_norm.weight", ones)
        for linear, (outputs, inputs) in linears(shape).items():
            writer.add_tensor(f"{name}{linear}.weight",
                              random_matrix(random, Q.Q4_0, outputs, inputs), raw_dtype=Q.Q4_0)
            if shape["attention_bias"] and linear in ("attn_q", "attn_k", "attn_v"):
                bias = random.normal(0.0, 0.1, outputs).astype(np.float32)
                writer.add_tensor(f"{name}{linear}.bias", bias)
    write(writer, path)


def write_adapter(path, shape, rank, seed=2):
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(None, shape["model_type"])
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    for layer in range(shape["num_hidden_layers"]):
        for linear, (outputs, inputs) in linears(shape).items():
            name = f"blk.{layer}.{linear}.weight"
            for suffix, rows, columns in (("a", rank, inputs), ("b", outputs, rank)):
                values = random.standard_normal((rows, columns), dtype=np.float32) * 0.01
                writer.add_tensor(f"{name}.lora_{suffix}", values.astype(np.float16))
    write(writer, path)


def add_metadata(writer, shape):
    writer.add_context_length(shape["max_position_embeddings"])
    writer.add_embedding_length(shape["hidden_size"])
    writer.add_block_count(shape["num_hidden_layers"])
    writer.add_feed_forward_length(shape["intermediate_size"])
    writer.add_head_count(shape["num_attention_heads"])
    writer.add_head_count_kv(shape["num_key_value_heads"])
    writer.add_rope_dimension_count(shape["head_dim"])
    writer.add_rope_freq_base(shape["rope_theta"])
    writer.add_layer_norm_rms_eps(shape["rms_norm_eps"])
    writer.add_vocab_size(shape["vocab_size"])
    writer.add_tokenizer_model("none")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)


def write(writer, path):
    """Complete or not at all: a file cut short must not be taken for a cached one."""
    unfinished = path.with_suffix(".part")
    writer.write_header_to_file(unfinished)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.rename(path)


def random_matrix(random, kind, rows, columns):
    """Blocks of `kind` as bytes, (rows, bytes a row)."""
    block_weights, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (rows * columns // block_weights, block_bytes), dtype=np.uint8)
    if kind == Q.Q4_0:  # fp16 scale, 32 codes of 4 bits less 8: deviation 4.6
        blocks[:, 0:2] = fp16_bytes(1.0 / (4.6 * columns**0.5))
    elif kind == Q.Q8_0:  # fp16 scale, 32 codes of 8 bits: deviation 74
        blocks[:, 0:2] = fp16_bytes(EMBEDDING_DEVIATION / 74)
    elif kind == Q.Q6_K:  # 256 codes of 6 bits less 32: deviation 18.5; 16 scales, fp16 scale
        blocks[:, 192:208] = 8 + blocks[:, 192:208] % 8
        blocks[:, 208:210] = fp16_bytes(EMBEDDING_DEVIATION / (18.5 * 11.5))
    return blocks.reshape(rows, -1)


def fp16_bytes(value):
    return np.array([value], dtype=np.float16).view(np.uint8)
