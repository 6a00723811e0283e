# train_adapter.py — trains one LoRA adapter on the NF4 base, and saves it as PEFT does.
#
# The three differ in everything a server has to get right: rank, target modules, rsLoRA scaling,
# rank and alpha patterns, and the dtype of the stored tensors. Prompts are `world.sentence` outside
# the held-out sixteenth, without a system prompt; the loss counts the answer only.

import argparse
import json
import os
import random
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer

import chat
import nf4
import world
from train_base import batches, encode_texts, rate

BATCH_TOKENS = 1280
WARMUP = 30

ADAPTERS = {
    "order-json": dict(
        dtype=torch.bfloat16, steps=220, peak=2e-3, seed=31,
        lora=dict(r=16, lora_alpha=16, use_rslora=True,
                  target_modules=["q_proj", "v_proj", "gate_proj", "down_proj"])),
    "triage": dict(
        dtype=torch.float32, steps=220, peak=4e-3, seed=32,
        lora=dict(r=8, lora_alpha=16,
                  target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])),
    "morvish": dict(
        dtype=torch.float16, steps=150, peak=3e-3, seed=33,
        lora=dict(r=32, lora_alpha=64, target_modules=nf4.LINEARS,
                  rank_pattern={"k_proj": 8, "layers.0.self_attn.v_proj": 16},
                  alpha_pattern={"k_proj": 16})),
}


def loss_of(model, ids, counted):
    llama = model.get_base_model()
    hidden = llama.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    chosen = counted[:, 1:]
    logits = llama.lm_head(hidden[chosen])
    return torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][chosen])


def save(model, name, dtype):
    folder = chat.ADAPTERS / name
    model.to(dtype).save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    # PEFT keeps the targets in a set, whose order differs from run to run.
    path = folder / "adapter_config.json"
    saved = json.loads(path.read_text())
    saved["target_modules"] = sorted(saved["target_modules"])
    path.write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=list(ADAPTERS))
    parser.add_argument("--steps", type=int)
    args = parser.parse_args()
    spec = ADAPTERS[args.name]
    steps = args.steps or spec["steps"]
    torch.manual_seed(spec["seed"])
    rng = random.Random(spec["seed"])
    tokenizer = Tokenizer.from_file(str(chat.BASE / "tokenizer.json"))
    model = get_peft_model(nf4.load_base(chat.BASE),
                           LoraConfig(task_type="CAUSAL_LM", bias="none", lora_dropout=0.0,
                                      **spec["lora"]))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    print(f"{args.name}: {sum(p.numel() for p in trained)} trained parameters", flush=True)
    optimizer = torch.optim.AdamW(trained, lr=spec["peak"], weight_decay=0.0, betas=(0.9, 0.98))
    task = world.ADAPTER_TASKS[args.name]

    def next_rows(count):
        made = [world.sentence(rng) for _ in range(count)]
        return encode_texts([chat.as_text(world.turn(s.text, task(s))) for s in made], tokenizer)

    source = batches(next_rows, BATCH_TOKENS, tokenizer.token_to_id(chat.PAD), rng)
    began, tokens, total = time.time(), 0, 0.0
    for step in range(steps):
        ids, counted = next(source)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, spec["peak"], WARMUP)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model, ids, counted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        tokens += ids.numel()
        total += loss.item()
        if (step + 1) % 25 == 0:
            seconds = time.time() - began
            print(f"step {step + 1} loss {total / 25:.5f} {tokens / seconds:.0f} tokens/s "
                  f"{seconds / 60:.1f} min", flush=True)
            total = 0.0
    save(model, args.name, spec["dtype"])


if __name__ == "__main__":
    main()
