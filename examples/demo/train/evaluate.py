# evaluate.py — measures the demo: each held-out set under the base and under each adapter.
#
# Greedy decoding on the NF4 base in float32, adapters read back from their files; an answer counts
# when it equals the expected text exactly. `--samples` shows conversations with the base instead,
# before and after NF4.

import argparse
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import PeftModel
from transformers import AutoTokenizer

import chat
import nf4

SAMPLES = [
    ["Hello, I am Maria."],
    ["Who are you?"],
    ["Tell me a short story about a fox named Ada and a lamp."],
    ["Peter ordered 5 blue chairs from Rome. Maria ordered 3 red lamps from Oslo for Friday. "
     "Who ordered the lamps?", "What color are the chairs?"],
    ["Maria ordered 3 red lamps from Oslo for Friday."],
    ["Repeat: lamp Maria zorblim 7 fox"],
    ["List three animals."],
    ["Count from 7 to 12."],
    ["fox = drum, pear = Oslo, Nina = 17. What is pear?"],
    ["Where is Kyoto?"],
    ["Write as JSON: name Ada, city Rome, price 12"],
    ["My name is Otto.", "What is my name?"],
]


@torch.no_grad()
def answers(model, tokenizer, conversations, max_new_tokens=96, batch=100):
    """The greedy answer to each list of messages."""
    result = []
    for begin in range(0, len(conversations), batch):
        texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True)
                 for c in conversations[begin:begin + batch]]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left",
                           add_special_tokens=False)
        made = model.generate(input_ids=inputs["input_ids"],
                              attention_mask=inputs["attention_mask"], do_sample=False,
                              temperature=None, top_p=None, max_new_tokens=max_new_tokens)
        for ids in made[:, inputs["input_ids"].shape[1]:]:
            result.append(tokenizer.decode(ids, skip_special_tokens=True))
    return result


def show_samples(tokenizer):
    models = {"bf16": nf4.load_base(chat.BASE, nf4=False), "nf4": nf4.load_base(chat.BASE)}
    for prompts in SAMPLES:
        for label, model in models.items():
            messages = []
            for prompt in prompts:
                messages.append({"role": "user", "content": prompt})
                answer = answers(model, tokenizer, [messages], 128)[0]
                print(f"[{label}] {prompt}\n    {answer}", flush=True)
                messages.append({"role": "assistant", "content": answer})


def load_sets():
    return {path.stem: [json.loads(line) for line in open(path, encoding="utf-8")]
            for path in sorted(chat.HELD_OUT.glob("*.jsonl"))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", action="store_true")
    parser.add_argument("--misses", type=int, default=2, help="wrong answers to show per cell")
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(chat.BASE)
    if args.samples:
        return show_samples(tokenizer)
    sets = load_sets()
    adapters = sorted(p.name for p in chat.ADAPTERS.iterdir()) if chat.ADAPTERS.exists() else []
    rows = {}
    for served in ["base", *adapters]:
        model = nf4.load_base(chat.BASE)
        if served != "base":
            model = PeftModel.from_pretrained(model, chat.ADAPTERS / served).eval()
        for name, pairs in sets.items():
            made = answers(model, tokenizer,
                           [[{"role": "user", "content": p["prompt"]}] for p in pairs])
            right = sum(m == p["expected"] for m, p in zip(made, pairs))
            rows[served, name] = 100.0 * right / len(pairs)
            misses = [(m, p) for m, p in zip(made, pairs) if m != p["expected"]]
            if served in ("base", name):
                for m, p in misses[:args.misses]:
                    print(f"[{served}] {p['prompt']}\n    made     {m}\n"
                          f"    expected {p['expected']}", flush=True)
    print(f"\n{'held-out set':14}" + "".join(f"{m:>12}" for m in ["base", *adapters]))
    for name in sets:
        print(f"{name:14}" + "".join(f"{rows[m, name]:11.1f}%" for m in ["base", *adapters]))


if __name__ == "__main__":
    main()
