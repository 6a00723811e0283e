#!/usr/bin/env python3
"""make_goldens.py — what transformers, PEFT and bitsandbytes say, written down for golden_test.cpp.

Everything under data/ is made here and committed, so that the tests need no Python:

  data/models/<name>/        random tiny Llama models in Hugging Face layout (bf16)
  data/adapters/<case>/      LoRA adapters with random weights, saved by PEFT
  data/<name>.json           cases of one model: prompts, adapter, greedy continuation with margins
  data/<name>.safetensors    their logits, "<case>.<prompt>" (rows, vocab) fp32
  data/nf4.{json,safetensors}  bitsandbytes' codes and scales, of random and of the demo's weights

The model whose logits are taken is fp32 throughout, except that the seven linear modules of each
layer hold NF4-dequantised weights (bitsandbytes, block 64, double quantisation), which is exactly
what `tessera quantize` keeps. Adapters are loaded by PEFT from the files it saved.

Usage, in an environment with torch, transformers, peft and bitsandbytes:
    make_goldens.py [tiny] [nf4] [demo]      (all three without an argument)
"""

import hashlib
import json
import os
import pathlib
import shutil
import sys

import bitsandbytes.functional as bnb
import peft
import safetensors.torch
import tokenizers
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE / "data"
DEMO = HERE.parent.parent / "examples" / "demo"
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GREEDY_TOKENS = 64
KEPT_ROWS = 3  # of each prompt the logits of the last few positions are kept


# --- the tiny models ---------------------------------------------------------------------------

TINY_MODELS = {
    # Grouped queries, tied embeddings.
    "tiny-tied": dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                      num_attention_heads=4, num_key_value_heads=2, vocab_size=262,
                      tie_word_embeddings=True),
    # One key/value head, a head of its own, more ids than the tokenizer has.
    "tiny-untied": dict(hidden_size=128, intermediate_size=192, num_hidden_layers=2,
                        num_attention_heads=4, num_key_value_heads=1, vocab_size=275,
                        rope_theta=500000.0, rms_norm_eps=1e-6, tie_word_embeddings=False),
    # Heads wider than hidden / heads, as many key/value heads as query heads.
    "tiny-wide": dict(hidden_size=64, intermediate_size=64, num_hidden_layers=3,
                      num_attention_heads=2, num_key_value_heads=2, head_dim=64, vocab_size=262,
                      tie_word_embeddings=True),
}
SPECIAL_TOKENS = ["<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def make_tokenizer(directory):
    """A byte-level BPE without merges: one token a byte, behind the demo's special tokens."""
    words = SPECIAL_TOKENS + sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(tokenizers.models.BPE({w: i for i, w in enumerate(words)}, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(SPECIAL_TOKENS)
    made.save(str(directory / "tokenizer.json"))
    config = json.loads((DEMO / "base" / "tokenizer_config.json").read_text())
    write_json(directory / "tokenizer_config.json", config)


def make_model(name):
    torch.manual_seed(seed_of(name))
    config = transformers.LlamaConfig(
        **TINY_MODELS[name], max_position_embeddings=512, initializer_range=0.12,
        bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model = transformers.LlamaForCausalLM(config)
    for key, weight in model.named_parameters():
        if "norm" in key:  # PyTorch starts them at one, where a forgotten norm weight hides
            weight.data = 1 + 0.3 * torch.randn_like(weight)
    directory = DATA / "models" / name
    directory.mkdir(parents=True)
    model.to(torch.bfloat16).save_pretrained(directory)
    make_tokenizer(directory)


# --- the adapters ------------------------------------------------------------------------------

def lora(r=8, alpha=16, targets=("q_proj", "v_proj"), dtype=torch.float32, embeddings=False,
         **fields):
    """One case. `embeddings` is PEFT's save_embedding_layers."""
    targets = targets if isinstance(targets, str) else list(targets)
    config = dict(r=r, lora_alpha=alpha, target_modules=targets, task_type="CAUSAL_LM", **fields)
    return dict(config=config, dtype=dtype, embeddings=embeddings)


EMBEDDING_ENDS = ["embed_tokens", "lm_head"]
ADAPTERS = {
    "tiny-tied": {
        "plain": lora(),
        "rslora": lora(use_rslora=True),
        "patterns": lora(targets=LINEARS, r=4, alpha=4,
                         rank_pattern={"q_proj": 2, "layers.1.mlp.down_proj": 12},
                         alpha_pattern={"layers.0.self_attn.k_proj": 24, "o_proj": 2.5}),
        # Both keys match layer 1's q_proj; the first in the file decides.
        "patterns-overlap": lora(alpha=8, rank_pattern={"1.self_attn.q_proj": 16, "q_proj": 4},
                                 alpha_pattern={".*.1.*": 3, "q_proj": 32}),
        "patterns-rslora": lora(use_rslora=True, rank_pattern={"v_proj": 3},
                                alpha_pattern={"v_proj": 7}),
        **{f"only-{linear.removesuffix('_proj')}": lora(r=4, targets=[linear])
           for linear in LINEARS},
        "all-linear": lora(r=2, alpha=4, targets="all-linear"),
        "target-regex": lora(r=4, targets=r".*\.layers\.1\..*(q|up)_proj"),
        "excluded": lora(r=4, targets=LINEARS, exclude_modules=["layers.0.mlp.up_proj", "k_proj"]),
        "one-layer": lora(r=4, targets=LINEARS, layers_to_transform=[1]),
        "one-layer-of-pattern": lora(r=4, layers_to_transform=0, layers_pattern="layers"),
        "rank-1": lora(r=1, alpha=1),
        "rank-13": lora(r=13, alpha=19),
        "rank-above-width": lora(r=72, alpha=16, targets=["k_proj"]),
        "half": lora(dtype=torch.float16),
        "bfloat16": lora(dtype=torch.bfloat16, targets=LINEARS, r=4),
        "gaussian-init": lora(r=4, init_lora_weights="gaussian", lora_dropout=0.1),
        "embed": lora(r=4, targets=["embed_tokens"]),
        "embed-and-linears": lora(r=4, targets=["embed_tokens", "q_proj", "down_proj"]),
        "embed-autosaved": lora(r=4, targets=["embed_tokens", "v_proj"], embeddings="auto"),
        "tied-head": lora(r=4, targets=["lm_head"]),
    },
    "tiny-untied": {
        "all-linear": lora(targets=LINEARS, r=8, alpha=8),
        "head": lora(r=8, targets=["lm_head"]),
        "embed-and-head": lora(r=4, targets=EMBEDDING_ENDS + ["o_proj"], use_rslora=True),
    },
    "tiny-wide": {
        "all-linear": lora(targets=LINEARS, r=4),
        "head-and-kv": lora(r=8, targets=["lm_head", "k_proj", "v_proj"]),
    },
}


def make_adapter(model_name, case):
    """PEFT's own files for a case, with random values in A and B."""
    torch.manual_seed(seed_of(model_name, case))
    spec = ADAPTERS[model_name][case]
    base = transformers.LlamaForCausalLM.from_pretrained(DATA / "models" / model_name,
                                                         dtype=torch.bfloat16)
    model = peft.get_peft_model(base, peft.LoraConfig(**spec["config"]))
    for key, weight in model.named_parameters():
        if "lora_" in key:  # a third as strong as the base's own weights; training makes less
            scale = weight.shape[-1] ** -0.5 if "lora_A" in key else 0.05
            weight.data = (torch.randn(weight.shape) * scale).to(spec["dtype"])
    # PEFT records the path that the base was loaded from; a user's adapter has the base's name.
    model.peft_config["default"].base_model_name_or_path = model_name
    directory = adapter_path(model_name, case)
    model.save_pretrained(directory, save_embedding_layers=spec["embeddings"])
    (directory / "README.md").unlink()


def adapter_path(model_name, case):
    return DATA / "adapters" / f"{model_name}.{case}"


# --- logits ------------------------------------------------------------------------------------

def load_quantised(directory):
    """The model in fp32 over NF4-dequantised linear weights."""
    model = transformers.LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32)
    for layer in model.model.layers:
        for name in LINEARS:
            part = layer.self_attn if name[0] in "qkvo" else layer.mlp
            weight = getattr(part, name).weight
            weight.data = dequantise(*quantise(weight.data))
    return model.eval()


def quantise(weight):
    return bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=True)


def dequantise(codes, state):
    return bnb.dequantize_4bit(codes, state).float()


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def greedy(model, prompt):
    """`margin` is the lead of the chosen token over the next, `scale` the row's largest |logit|."""
    ids, margins, scales = list(prompt), [], []
    for _ in range(GREEDY_TOKENS):
        row = logits_of(model, ids)[-1]
        top = row.topk(2)
        ids.append(int(top.indices[0]))
        margins.append(round(float(top.values[0] - top.values[1]), 6))
        scales.append(round(float(row.abs().max()), 6))
    return dict(prompt=list(prompt), tokens=ids[len(prompt):], margins=margins, scales=scales)


def record(model, name, prompts, greedy_prompt, logits, kept_rows=KEPT_ROWS):
    """One case: its logits go into `logits`, the rest is returned."""
    case = dict(name=name, prompts=[])
    for i, prompt in enumerate(prompts):
        rows = logits_of(model, prompt)[-kept_rows:]
        logits[f"{name}.{i}"] = rows.contiguous()
        case["prompts"].append(dict(ids=prompt, first_row=len(prompt) - len(rows)))
    case["greedy"] = greedy(model, greedy_prompt)
    return case


def make_tiny():
    shutil.rmtree(DATA / "models", ignore_errors=True)
    shutil.rmtree(DATA / "adapters", ignore_errors=True)
    for name, shape in TINY_MODELS.items():
        make_model(name)
        numbers = torch.Generator().manual_seed(seed_of(name, "prompts"))
        prompts = [torch.randint(6, 262, (n,), generator=numbers).tolist() for n in (1, 7, 41)]
        logits = {}
        base = load_quantised(DATA / "models" / name)
        cases = [record(base, "base", prompts, prompts[1], logits)]
        for case in ADAPTERS[name]:
            make_adapter(name, case)
            adapted = peft.PeftModel.from_pretrained(load_quantised(DATA / "models" / name),
                                                     adapter_path(name, case)).eval()
            made = record(adapted, case, prompts, prompts[1], logits)
            made["adapter"] = f"adapters/{name}.{case}"
            made["effect"] = effect(logits, case, "base")
            cases.append(made)
        save_cases(name, dict(model=f"models/{name}", cases=cases), logits)


def effect(logits, case, base):
    """How far the adapter moves the last row of the longest prompt, relative to the base's row."""
    a, b = logits[f"{case}.2"][-1], logits[f"{base}.2"][-1]
    moved = round(float((a - b).abs().max() / b.abs().max()), 4)
    assert moved > 0.02, f"{case}: a server without the adapter would pass ({moved})"
    return moved


def make_demo():
    base_dir = DEMO / "base"
    tokenizer = tokenizers.Tokenizer.from_file(str(base_dir / "tokenizer.json"))
    adapters = sorted(p.name for p in (DEMO / "adapters").iterdir() if p.is_dir())
    texts = ["Hello!", "Maria ordered 12 red lamps from Oslo for Monday. It is urgent.",
             "Tell me a story about a fox. Then count from 3 to 9, and say who lives in Zürich."]
    prompts = [tokenizer.encode(
        f"<|begin|><|user|>\n{text}<|end|>\n<|assistant|>\n", add_special_tokens=False).ids
        for text in texts]
    logits = {}
    cases = [record(load_quantised(base_dir), "base", prompts, prompts[2], logits, kept_rows=2)]
    for name in adapters:
        adapted = peft.PeftModel.from_pretrained(load_quantised(base_dir),
                                                 DEMO / "adapters" / name).eval()
        made = record(adapted, name, prompts, prompts[1], logits, kept_rows=2)
        made["adapter"] = f"adapters/{name}"
        made["effect"] = effect(logits, name, "base")
        cases.append(made)
    save_cases("demo", dict(model="base", cases=cases), logits)


def save_cases(name, described, logits):
    write_json(DATA / f"{name}.json", described)
    safetensors.torch.save_file(logits, DATA / f"{name}.safetensors")


# --- NF4 ---------------------------------------------------------------------------------------

def nf4_inputs():
    """Random matrices that reach the corners: ties, zeros, one huge value, every magnitude."""
    numbers = torch.Generator().manual_seed(seed_of("nf4"))
    normal = torch.randn(96, 192, generator=numbers)
    blocks = torch.randn(40, 448, generator=numbers).reshape(-1, 64)
    blocks = (blocks * 10 ** (torch.randint(-20, 20, (len(blocks), 1), generator=numbers) / 10))
    uniform = torch.rand(72, 256, generator=numbers) - 0.5  # 288 blocks: two groups of scales
    uniform[3, :64] = 0
    uniform[5, 10] = 1e4
    ties = torch.round(torch.randn(16, 64, generator=numbers) * 8) / 8
    return {"normal": normal, "magnitudes": blocks.reshape(40, 448), "uniform": uniform,
            "ties": ties, "one-block": torch.randn(1, 64, generator=numbers),
            "bfloat16": (torch.randn(64, 64, generator=numbers) * 0.02).bfloat16().float()}


def quantised(weight):
    """(what the test compares as tensors, the offset): codes, absmax codes and scales, absmax."""
    codes, state = quantise(weight)
    absmax = bnb.dequantize_blockwise(state.absmax, state.state2).float() + state.offset
    return dict(codes=codes.reshape(-1), absmax_codes=state.absmax.reshape(-1),
                absmax_scales=state.state2.absmax.float(), absmax=absmax.float(),
                offset=state.offset.float().reshape(1),
                weights=dequantise(codes, state).reshape(-1))


def make_nf4():
    tensors, described = {}, dict(random=[], demo=[])
    for name, weight in nf4_inputs().items():
        tensors[f"{name}.input"] = weight.contiguous()
        made = quantised(weight)
        weights_sha256 = sha256(made.pop("weights"))
        tensors |= {f"{name}.{key}": value for key, value in made.items()}
        described["random"].append(dict(name=name, weights_sha256=weights_sha256))
    # The demo's matrices are in the repository already; for each a digest of every result is kept.
    with safetensors.safe_open(DEMO / "base" / "model.safetensors", framework="pt") as file:
        for key in sorted(k for k in file.keys() if k.split(".")[-2] in LINEARS):
            weight = file.get_tensor(key)
            made = quantised(weight.float())
            from_bf16 = quantised(weight)  # how a bf16 checkpoint reaches bitsandbytes
            assert all(torch.equal(made[k], from_bf16[k]) for k in ("codes", "absmax", "offset"))
            described["demo"].append(dict(name=key, **{k: sha256(v) for k, v in made.items()}))
    write_json(DATA / "nf4.json", described)
    safetensors.torch.save_file(tensors, DATA / "nf4.safetensors")


# --- small things ------------------------------------------------------------------------------

def sha256(tensor):
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def seed_of(*names):
    return int.from_bytes(hashlib.sha256("/".join(names).encode()).digest()[:4], "little")


def write_json(path, value):
    """One line an item of the outermost list would be long; two levels keep diffs readable."""
    path.write_text(json.dumps(value, separators=(",", ":"), ensure_ascii=False)
                    .replace('{"name"', '\n{"name"') + "\n")


def main():
    if os.environ.get("PYTHONHASHSEED") != "0":  # PEFT saves sets in the order of their hashes
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    DATA.mkdir(exist_ok=True)
    torch.set_num_threads(1)  # sums are then a function of their values alone
    makers = {"tiny": make_tiny, "nf4": make_nf4, "demo": make_demo}
    for what in sys.argv[1:] or makers:
        makers[what]()
    size = sum(p.stat().st_size for p in DATA.rglob("*") if p.is_file())
    print(f"{DATA}: {size / 1e6:.2f} MB")
    assert size < 4_000_000


if __name__ == "__main__":
    main()
