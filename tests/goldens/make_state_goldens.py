#!/usr/bin/env python3
"""make_state_goldens.py — the final hidden states of transformers and PEFT, for state_golden_test.cpp.

data/states.safetensors has, for the models, adapters and prompts of make_goldens.py that
data/states.json names, what torch says of a prompt: "<model>.<case>.<prompt>.last" (hidden,) is the
state of its last token after the final norm, ".mean" the mean of all tokens' states.

Usage, after make_goldens.py and in its environment: make_state_goldens.py
"""

import json

import peft
import safetensors.torch
import torch

from make_goldens import DATA, load_quantised, write_json

# All linear modules; an embedding of the adapter's own; a head, which no state reads.
CASES = {"tiny-tied": ["base", "all-linear", "embed-and-linears", "tied-head"],
         "tiny-wide": ["base", "all-linear"]}


def states_of(model, ids):
    """(tokens, hidden) after the final norm."""
    body = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    with torch.no_grad():
        return body.model(torch.tensor([ids])).last_hidden_state[0]


def main():
    states, described = {}, []
    for name, wanted in CASES.items():
        golden = json.loads((DATA / f"{name}.json").read_text())
        for case in golden["cases"]:
            if case["name"] not in wanted:
                continue
            model = load_quantised(DATA / golden["model"])
            if "adapter" in case:
                model = peft.PeftModel.from_pretrained(model, DATA / case["adapter"]).eval()
            for i, prompt in enumerate(case["prompts"]):
                rows = states_of(model, prompt["ids"])
                key = f"{name}.{case['name']}.{i}"
                states[f"{key}.last"] = rows[-1].clone()
                states[f"{key}.mean"] = rows.double().mean(0).float()
                described.append(dict(name=key, model=name, directory=golden["model"],
                                      adapter=case.get("adapter", ""), ids=prompt["ids"]))
    safetensors.torch.save_file(states, DATA / "states.safetensors")
    write_json(DATA / "states.json", described)


if __name__ == "__main__":
    main()
