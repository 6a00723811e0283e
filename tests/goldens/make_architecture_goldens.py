#!/usr/bin/env python3
"""make_architecture_goldens.py — what transformers and PEFT say of a small model of each kind.

For architecture_golden_test.cpp. Each case is a random model of a few layers; made here and
committed under data/architectures/<case>/:

  config.json               as save_pretrained writes it
  tensors.json              the tensors of its checkpoint: name, shape, and how they are seeded
  adapters/<name>/          LoRA adapters on every linear module, saved by PEFT
  logits.safetensors        "<fp32|nf4>.<base|adapter>.<prompt>", (rows, vocab) of the last rows

The weights themselves are not kept: a value is a function of the case, the tensor's name and the
value's index (`seeded`), rounded to bf16, which the test computes likewise. "fp32" is the model in
fp32 of these; in "nf4" every linear weight that `tessera quantize` keeps apart was quantised and
dequantised by bitsandbytes (block 64, double quantisation), so q, k and v of a fused matrix, and
each expert, by themselves.

Prompts are 5 and 40 tokens, 80 (past every sliding window and every LongRoPE's short range) and
4100. Of models with experts, the first elements of the embedding are far apart and the router reads
these, so that no choice of an expert is a close one (`check_routes`).

Usage, in an environment with torch, transformers, peft and bitsandbytes:
    make_architecture_goldens.py [case ...]
"""

import json
import math
import shutil
import sys
import tempfile
import pathlib

import numpy
import peft
import safetensors
import safetensors.torch
import torch
import transformers

from make_goldens import DATA, dequantise, quantise, seed_of, write_json

ROOT = DATA / "architectures"
PROMPT_LENGTHS = [5, 40, 80, 4100]
KEPT_ROWS = [2, 2, 2, 1]
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
ATTENTION = LINEARS[:4]
# Not "gate_proj": PEFT 0.21 takes that for the experts' alone, and drops what layers without
# experts have of it.
EXPERT_MODULES = [f"experts.{e}.{linear}" for e in range(4) for linear in LINEARS[4:]]
EXPERT_PARAMETERS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]

COMMON = dict(vocab_size=80, hidden_size=64, intermediate_size=128, num_hidden_layers=3,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=8192,
              pad_token_id=None, bos_token_id=1, eos_token_id=2)
LONG_FACTORS = dict(short=[1.0, 1.1, 1.3, 1.7, 2.1, 2.6, 3.0, 3.3],
                    long=[1.0, 1.5, 2.5, 4.0, 8.0, 16.0, 24.0, 32.0])


def rope(kind, theta=10000.0, **fields):
    return dict(rope_type=kind, rope_theta=theta, **fields)


def lora(targets=None, parameters=None, rank=4, **fields):
    return dict(r=rank, lora_alpha=8, target_modules=targets or LINEARS,
                target_parameters=parameters, task_type="CAUSAL_LM", **fields)


# name: (architecture, fields of the config, adapters)
CASES = {
    "llama2": ("Llama", dict(num_key_value_heads=4, rope_parameters=rope("default")),
               {"lora": lora(LINEARS + ["embed_tokens", "lm_head"])}),
    "llama-linear": ("Llama", dict(rope_parameters=rope("linear", factor=2.5)),
                     {"lora": lora(rank_pattern={"o_proj": 3})}),
    "llama-dynamic": ("Llama", dict(rope_parameters=rope("dynamic", factor=4.0),
                                    attention_bias=True, mlp_bias=True), {"lora": lora()}),
    "llama3": ("Llama", dict(
        tie_word_embeddings=True, head_dim=32, rope_parameters=rope(
            "llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=256)), {"lora": lora(use_rslora=True)}),
    "llama-yarn": ("Llama", dict(rope_parameters=rope(
        "yarn", factor=8.0, original_max_position_embeddings=1024)), {"lora": lora()}),
    "mistral": ("Mistral", dict(sliding_window=32, head_dim=32, rope_parameters=rope("default")),
                {"lora": lora()}),
    "qwen2": ("Qwen2", dict(use_sliding_window=True, sliding_window=24, max_window_layers=1,
                            rope_parameters=rope("default", 1e6)), {"lora": lora()}),
    "qwen3": ("Qwen3", dict(head_dim=32, tie_word_embeddings=True,
                            rope_parameters=rope("default", 1e6)), {"lora": lora()}),
    "gemma2": ("Gemma2", dict(head_dim=32, sliding_window=32, query_pre_attn_scalar=24,
                              attn_logit_softcapping=8.0, final_logit_softcapping=10.0,
                              rope_parameters=rope("default")),
               {"lora": lora(LINEARS + ["embed_tokens"])}),
    "gemma3": ("Gemma3", dict(
        head_dim=32, sliding_window=16, query_pre_attn_scalar=40, num_hidden_layers=4,
        layer_types=["sliding_attention", "full_attention"] * 2, rope_parameters={
            "full_attention": rope("linear", 1e6, factor=8.0),
            "sliding_attention": rope("default")}), {"lora": lora()}),
    "gemma3-vision": ("Gemma3Vision", dict(
        head_dim=32, sliding_window=16, query_pre_attn_scalar=32, num_hidden_layers=2,
        layer_types=["sliding_attention", "full_attention"]),
        {"lora": lora(r".*language_model.*_proj")}),
    "phi3": ("Phi3", dict(sliding_window=32, rope_parameters=rope("default")),
             {"lora": lora(FUSED)}),
    "phi4-mini": ("Phi3", dict(
        hidden_size=128, intermediate_size=64, num_attention_heads=8, num_key_value_heads=4,
        head_dim=16, num_hidden_layers=2, tie_word_embeddings=True,
        original_max_position_embeddings=64, rope_parameters=rope(
            "longrope", short_factor=LONG_FACTORS["short"][:6],
            long_factor=LONG_FACTORS["long"][:6], partial_rotary_factor=0.75)),
        {"lora": lora(FUSED)}),
    "smollm3": ("SmolLM3", dict(num_hidden_layers=4, no_rope_layer_interval=2,
                                rope_parameters=rope("default", 2e6)), {"lora": lora()}),
    "granite": ("Granite", dict(embedding_multiplier=12.0, logits_scaling=8.0,
                                residual_multiplier=0.22, attention_multiplier=0.0625,
                                rope_parameters=rope("default")),
                {"lora": lora(LINEARS + ["embed_tokens", "lm_head"])}),
    "olmo2": ("Olmo2", dict(rope_parameters=rope("default", 500000.0)), {"lora": lora()}),
    "mixtral": ("Mixtral", dict(num_local_experts=4, num_experts_per_tok=2, intermediate_size=64,
                                num_hidden_layers=2, rope_parameters=rope("default")),
                {"lora": lora(ATTENTION, EXPERT_PARAMETERS, rank=2),
                 "modules": lora(ATTENTION + ["w1", "w2", "w3"], rank=2)}),
    "qwen3-moe": ("Qwen3Moe", dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=64,
                                   norm_topk_prob=False, mlp_only_layers=[0], head_dim=32,
                                   rope_parameters=rope("default")),
                  {"lora": lora(ATTENTION, ["mlp.experts.down_proj"], rank=2),
                   "modules": lora(ATTENTION + EXPERT_MODULES, rank=2)}),
}


# --- seeded numbers ----------------------------------------------------------------------------

def hash_of(text):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2 ** 64
    return value


def seeded_bits(name, count):
    """Element i is what SplitMix64 (Steele, Lea and Flood, 2014) gives at its (i + 1)th step."""
    with numpy.errstate(over="ignore"):
        steps = numpy.arange(1, count + 1, dtype=numpy.uint64)
        mixed = numpy.uint64(hash_of(name)) + steps * numpy.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> numpy.uint64(31))


def seeded(case, tensor):
    """The tensor's values: center + radius * u, u uniform in [-1, 1), rounded to bf16."""
    count = math.prod(tensor["shape"])
    bits = seeded_bits(f"{case}/{tensor['name']}", count)
    uniform = (bits >> numpy.uint64(40)).astype(numpy.float32) * numpy.float32(2 ** -23) - 1
    values = numpy.float32(tensor["center"]) + numpy.float32(tensor["radius"]) * uniform
    values = torch.from_numpy(values).reshape(tensor["shape"])
    fill_first(case, tensor, values)
    return values.bfloat16()


def fill_first(case, tensor, values):
    """What makes the choice of experts clear-cut."""
    experts = tensor.get("experts", 0)
    if tensor.get("first") == "levels":  # 16, 32, 48 ..., rotated by a seeded number of places
        turns = seeded_bits(f"{case}/levels", len(values)) % numpy.uint64(experts)
        for token, turn in enumerate(turns):
            for e in range(experts):
                values[token, e] = 16.0 * ((e + int(turn)) % experts + 1)
    elif tensor.get("first") == "ones":
        values[:experts] = 1.0
    elif tensor.get("first") == "router":
        for e in range(experts):
            values[e, e] = 1.0


def prompts_of(case, vocab):
    return [(seeded_bits(f"{case}/prompt.{i}", n) % numpy.uint64(vocab)).astype(int).tolist()
            for i, n in enumerate(PROMPT_LENGTHS)]


# --- models ------------------------------------------------------------------------------------

def make_empty(case):
    kind, fields, _ = CASES[case]
    fields = COMMON | fields
    if kind == "Gemma3Vision":
        text = transformers.Gemma3TextConfig(**fields)
        vision = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                      num_attention_heads=2, image_size=28, patch_size=14)
        config = transformers.Gemma3Config(text_config=text.to_dict(), vision_config=vision,
                                           mm_tokens_per_image=1, image_token_index=70,
                                           boi_token_index=71, eoi_token_index=72)
        return transformers.Gemma3ForConditionalGeneration(config)
    config_class = {"Gemma3": "Gemma3TextConfig"}.get(kind, f"{kind}Config")
    config = getattr(transformers, config_class)(**fields)
    return getattr(transformers, f"{kind}ForCausalLM")(config)


def describe(case, name, shape, config):
    """How a tensor is seeded. Radii are those of a model whose activations neither vanish nor blow
    up, with attention and caps that matter."""
    tensor = dict(name=name, shape=list(shape), center=0.0, radius=0.5)
    experts = getattr(config, "num_local_experts", 0)
    if "norm" in name:
        tensor |= dict(center=0.0 if case.startswith("gemma") else 1.0, radius=0.25)
        if experts and "post_attention" in name:
            tensor |= dict(first="ones", experts=experts)
    elif "embed_tokens" in name:
        scale = config.hidden_size ** 0.5 if case.startswith("gemma") else getattr(
            config, "embedding_multiplier", 1.0)
        tensor |= dict(radius=1.75 / scale)
        if experts:
            tensor |= dict(first="levels", experts=experts)
    elif name.endswith("gate.weight"):
        tensor |= dict(radius=0.0078125, first="router", experts=experts)
    elif len(shape) > 1:
        tensor |= dict(radius=float(numpy.float32((3.0 / shape[-1]) ** 0.5)))
    if name.endswith("lm_head.weight"):
        tensor["radius"] *= 3
    return tensor


def make_checkpoint(case, directory):
    """The case's model in Hugging Face layout; the description of its tensors."""
    torch.manual_seed(seed_of(case))
    empty = make_empty(case)
    empty.save_pretrained(directory)
    text_config = empty.config.get_text_config()
    path = directory / "model.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        names = sorted(file.keys())
        tensors = [describe(case, n, file.get_slice(n).get_shape(), text_config) for n in names]
    safetensors.torch.save_file({t["name"]: seeded(case, t) for t in tensors}, path,
                                metadata={"format": "pt"})
    return tensors


def load(directory, nf4):
    auto = transformers.AutoConfig.from_pretrained(directory)
    model_class = getattr(transformers, auto.architectures[0])
    model = model_class.from_pretrained(directory, dtype=torch.float32,
                                        attn_implementation="eager")
    if nf4:
        for part in linear_parts(model):
            part.copy_(dequantise(*quantise(part.contiguous())))
    return model.eval()


def linear_parts(model):
    """Views of every linear weight that `tessera quantize` keeps by itself."""
    config = model.config.get_text_config()
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = [config.num_attention_heads * head_dim] + [config.num_key_value_heads * head_dim] * 2
    for name, weight in model.named_parameters():
        leaf = name.removesuffix(".weight").rsplit(".", 1)[-1]
        if "vision" in name or "projector" in name:
            continue
        if weight.data.dim() == 3:
            for expert in weight.data:
                yield from (expert.chunk(2) if leaf == "gate_up_proj" else [expert])
        elif leaf == "qkv_proj":
            yield from weight.data.split(heads)
        elif leaf == "gate_up_proj":
            yield from weight.data.chunk(2)
        elif leaf in LINEARS and name.endswith("weight"):
            yield weight.data


# --- adapters ----------------------------------------------------------------------------------

def make_adapter(case, name, directory):
    """PEFT's own files, with random values of bf16 in A and B."""
    torch.manual_seed(seed_of(case, name))
    target = ROOT / case / "adapters" / name
    model = peft.get_peft_model(load(directory, nf4=False), peft.LoraConfig(**CASES[case][2][name]))
    for key, weight in model.named_parameters():
        if "lora_" in key:
            scale = weight.shape[-1] ** -0.5 if "lora_A" in key else 0.1
            weight.data = (torch.randn(weight.shape) * scale).bfloat16()
    model.peft_config["default"].base_model_name_or_path = case
    model.save_pretrained(target, save_embedding_layers=False)
    (target / "README.md").unlink()


def make_module_adapter(case, name, _):
    """One LoRA pair an expert's linear, as PEFT saved it while experts were modules of their own
    (transformers 4). Today's PEFT reads it, and fuses it when it does."""
    torch.manual_seed(seed_of(case, name))
    target = ROOT / case / "adapters" / name
    fields = dict(CASES[case][2][name])
    targets = fields["target_modules"]
    tensors = {}
    for tensor in json.loads((ROOT / case / "tensors.json").read_text()):
        path = tensor["name"].removesuffix(".weight")
        if not path.endswith(tuple(f".{target}" for target in targets)):
            continue
        rows, cols = tensor["shape"]
        prefix = f"base_model.model.{path}.lora_"
        tensors[prefix + "A.weight"] = (torch.randn(fields["r"], cols) * cols ** -0.5).bfloat16()
        tensors[prefix + "B.weight"] = (torch.randn(rows, fields["r"]) * 0.1).bfloat16()
    target.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, target / "adapter_model.safetensors",
                                metadata={"format": "pt"})
    config = peft.LoraConfig(base_model_name_or_path=case, inference_mode=True, **fields)
    config.save_pretrained(target)


# --- logits ------------------------------------------------------------------------------------

def logits_of(model, ids, rows):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False, logits_to_keep=rows).logits[0]


def check_routes(model, k):
    """Hooks that fail where an expert is chosen by less than a twentieth."""
    def check(_, inputs, output):
        top = output[0].float().sort(descending=True).values
        margin = (top[:, k - 1] - top[:, k]).min() / top[:, 0].abs().max()
        assert margin > 0.05, f"a close choice of an expert: {margin}"
    for name, module in model.named_modules():
        if type(module).__name__.endswith("TopKRouter"):
            module.register_forward_hook(check)


def record(case, model, name, prompts, logits):
    experts = getattr(model.config.get_text_config(), "num_experts_per_tok", 0)
    if experts:
        check_routes(model, experts)
    for i, prompt in enumerate(prompts):
        logits[f"{name}.{i}"] = logits_of(model, prompt, KEPT_ROWS[i]).contiguous()


def make_case(case):
    shutil.rmtree(ROOT / case, ignore_errors=True)
    (ROOT / case).mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        tensors = make_checkpoint(case, directory)
        shutil.copy(directory / "config.json", ROOT / case / "config.json")
        write_json(ROOT / case / "tensors.json", tensors)
        for name in CASES[case][2]:
            (make_module_adapter if name == "modules" else make_adapter)(case, name, directory)
        logits, prompts = {}, prompts_of(case, COMMON["vocab_size"])
        for form in ("fp32", "nf4"):
            record(case, load(directory, form == "nf4"), f"{form}.base", prompts, logits)
            for name in CASES[case][2]:
                adapted = peft.PeftModel.from_pretrained(load(directory, form == "nf4"),
                                                         ROOT / case / "adapters" / name).eval()
                record(case, adapted, f"{form}.{name}", prompts, logits)
        check_effects(case, logits)
    safetensors.torch.save_file(logits, ROOT / case / "logits.safetensors")


def check_effects(case, logits):
    """A server that forgot the adapter, or the weights' rounding, would not pass."""
    moved = {}
    for key, rows in logits.items():
        form, name, prompt = key.split(".")
        base = logits[f"fp32.base.{prompt}"]
        if key != f"fp32.base.{prompt}":
            moved[key] = float((rows - base).abs().max() / base.abs().max())
            assert moved[key] > 0.01, f"{case}: {key} moves the logits by {moved[key]} only"
    size = sum(p.stat().st_size for p in (ROOT / case).rglob("*") if p.is_file())
    print(f"{case}: {size / 1e3:.0f} kB, least effect {min(moved.values()):.3f}", flush=True)


def main():
    torch.set_num_threads(1)  # sums are then a function of their values alone
    for case in sys.argv[1:] or CASES:
        make_case(case)


if __name__ == "__main__":
    main()
