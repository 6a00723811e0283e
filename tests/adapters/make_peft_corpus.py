"""Writes tests/adapters/data/peft: tiny adapters as PEFT itself saves them.

Run with torch, transformers and peft installed:  python make_peft_corpus.py

Each folder of accepted/ holds an adapter and expected.json: the modules that PEFT wrapped, with
their rank and scaling as PEFT computed them. Each folder of refused/ holds an adapter that must be
refused; peft_corpus_test.cpp says by which code. base.safetensors holds the embedding and head that
PEFT copies beside some adapters. The base is the one of test_package.hpp. (Whether what is served
is what PEFT computes is asked of many more: corpus/make_corpus.py.)
"""

import copy
import json
import pathlib
import shutil
import warnings

import peft
import torch
import transformers
from peft import LoHaConfig, LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file

DATA = pathlib.Path(__file__).parent / "data" / "peft"


def make_base():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        max_position_embeddings=64, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.name_or_path = model.config.name_or_path = model.config._name_or_path = "tiny"
    return model


def lora(**kwargs):
    settings = dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return LoraConfig(**(settings | kwargs))


def randomise(model):
    """Gives every trained tensor a value; B starts as zero, and a no-op proves nothing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "hada_" in name:
                parameter.copy_((torch.randn(parameter.shape) * 0.1).to(torch.bfloat16))


def save(model, folder, dtype=None):
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    if dtype is not None:
        path = folder / "adapter_model.safetensors"
        tensors = {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})


def describe(base, folder):
    """What PEFT makes of the saved adapter: path -> [rank, scaling]."""
    model = peft.PeftModel.from_pretrained(copy.deepcopy(base), folder)
    return {path: [module.r["default"], module.scaling["default"]]
            for path, module in model.base_model.model.named_modules()
            if isinstance(module, LoraLayer)}


ACCEPTED = {
    "plain": lora(),
    "float16": lora(),
    "float32": lora(target_modules=["k_proj"]),
    "rslora": lora(use_rslora=True, r=3, target_modules=["o_proj", "down_proj"]),
    "patterns": lora(
        target_modules=["q_proj", "k_proj", "up_proj"], use_rslora=True,
        rank_pattern={r"layers.1.*up_proj": 5, "up_proj": 1, "self_attn.q_proj": 4},
        alpha_pattern={"q_proj": 3, r"model\.layers\.[0-1]\.mlp\.up_proj": 7}),
    "all_linear": lora(r=1, target_modules="all-linear"),
    "regex": lora(target_modules=r".*\.(0|1)\.mlp\.(gate|up)_proj", r=1),
    "exclude": lora(target_modules=["q_proj", "o_proj"], exclude_modules=r".*\.0\.self_attn\.q_proj"),
    "layers_to_transform": lora(layers_to_transform=[1], layers_pattern="layers"),
    "one_layer": lora(layers_to_transform=0, target_modules=["gate_proj"]),
    "embed_tokens": lora(target_modules=["embed_tokens", "v_proj"]),
    "lm_head": lora(target_modules=["lm_head"]),
    "gaussian": lora(init_lora_weights="gaussian", lora_dropout=0.1),
    "rank_256": lora(r=256, target_modules=["model.layers.1.self_attn.k_proj"]),
}

REFUSED = {
    "pissa": lora(init_lora_weights="pissa"),
    "olora": lora(init_lora_weights="olora"),
    "modules_to_save": lora(modules_to_save=["norm"]),
    "loha": LoHaConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"),
}


def main():
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    warnings.filterwarnings("ignore")
    base = make_base()
    save_file({"embed_tokens": base.model.embed_tokens.weight.data,
               "lm_head": base.lm_head.weight.data}, DATA / "base.safetensors")
    dtypes = {"float16": torch.float16, "float32": torch.float32}
    for name, config in (ACCEPTED | REFUSED).items():
        folder = DATA / ("accepted" if name in ACCEPTED else "refused") / name
        needs_float = name in ("pissa", "olora")
        start = copy.deepcopy(base)
        model = get_peft_model(start.float() if needs_float else start, config)
        randomise(model)
        save(model, folder, dtypes.get(name, torch.bfloat16))
        if name in ACCEPTED:
            text = json.dumps(describe(base, folder), indent=1)
            (folder / "expected.json").write_text(text + "\n")
    print(f"peft {peft.__version__}: {len(ACCEPTED)} accepted, {len(REFUSED)} refused")


if __name__ == "__main__":
    main()
