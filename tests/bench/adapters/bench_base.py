"""bench_base.py — a served base of Llama-3.2-1B's shape, with random weights."""

import json
import os
import pathlib
import subprocess

import harness

HERE = pathlib.Path(__file__).resolve().parent
CACHE = HERE.parents[2] / "build" / "bench" / "adapters"
NAME = "llama-3.2-1b-shape"


def config():
    shape = json.loads((HERE.parent / "cpu" / "shapes.json").read_text())["llama-3.2-1b"]
    return shape | {"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True,
                    "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2}


def tokenizer():
    """The demo's, with a text for every further token of the vocabulary, none of which a prompt
    can have: so every generated token is seen in the stream."""
    made = json.loads((harness.DEMO / "base" / "tokenizer.json").read_text())
    vocabulary = made["model"]["vocab"]
    for number in range(max(vocabulary.values()) + 1, config()["vocab_size"]):
        vocabulary[f"\u0120x{number}"] = number
    return made


def packed(driver=None):
    """The packed model; made once, by the adapters suite's driver."""
    out = CACHE / f"{NAME}.tessera"
    if out.exists():
        return out
    CACHE.mkdir(parents=True, exist_ok=True)
    for name, content in (("config", config()), ("tokenizer", tokenizer())):
        (CACHE / f"{name}.json").write_text(json.dumps(content))
    part = out.with_suffix(".part")
    subprocess.run([driver or os.environ["TESSERA_DRIVER"], CACHE / "config.json", NAME,
                    CACHE / "tokenizer.json", harness.packed_demo(), part], check=True,
                   stdout=subprocess.DEVNULL)
    part.rename(out)
    return out
