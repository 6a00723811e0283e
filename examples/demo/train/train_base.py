# train_base.py — trains the base model from nothing and writes it in the Hugging Face layout.
#
# A Llama of 4.0 million parameters with grouped-query attention. Batches hold texts of about the
# same length, each beginning at position 0, so no token is spent on padding to speak of and no text
# sees another. Training begins with drills: random tokens that repeat, which teach the model to
# look back before it learns what there is to say. The loss counts every token of an answer and a
# random tenth of the others: what a user says is mostly chance, and not worth learning by heart.
#
# The run has two parts: the first ends at SPLIT, at a rate still near its peak; `--cooldown` reads
# what it saved and takes the rate down to nothing. Weights are saved in bfloat16, every `SAVE_EVERY`
# steps, so that a run which is stopped early leaves a usable model.

import argparse
import json
import math
import random
import time

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

import chat
import world

SEED = 20
STEPS = 4600  # that the first part's schedule is made for
SPLIT = 2500  # where it ends
COOLDOWN_STEPS = 500
BATCH_TOKENS = 2048
PEAK_RATE = 2e-3
COOLDOWN_RATE = 1.2e-3
WARMUP = 150
OTHER_TOKENS = 0.1  # share of non-answer tokens that the loss counts
SAVE_EVERY = 250
# Up to which step which share of the rows are drills: they form the circuit that copies, on which
# nearly all of the world depends and which its own text teaches only slowly.
DRILLS = [(350, 0.8), (1200, 0.1), (10**9, 0.03)]


def config(vocab_size, tokenizer):
    return LlamaConfig(
        vocab_size=vocab_size, hidden_size=256, intermediate_size=704, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64, max_position_embeddings=1024,
        rope_theta=10000.0, rms_norm_eps=1e-5, tie_word_embeddings=True, initializer_range=0.04,
        bos_token_id=tokenizer.token_to_id(chat.BOS), eos_token_id=tokenizer.token_to_id(chat.END),
        pad_token_id=tokenizer.token_to_id(chat.PAD), attention_bias=False, mlp_bias=False)


@torch.no_grad()
def initialise(model):
    """Gives attention a start in the shape that copying needs (after "Mimetic Initialization of
    Self-Attention Layers", Trockman and Kolter, 2023; the head that looks back by one is ours).

    Queries and keys of a group share one random basis, so that like attends to like, and the output
    projection begins as the transpose of the values', so that what is attended to is said. Two
    heads of the first layer begin by looking at the token before: embeddings get a constant in
    feature 0, which both sides turn into fixed vectors that RoPE aligns at distance 1. With this
    the model copies after 250 steps of drills, without it not after 1,800.
    """
    c = model.config
    width, head, group = c.hidden_size, c.head_dim, c.num_attention_heads // c.num_key_value_heads
    model.model.embed_tokens.weight[:, 0] = 0.16
    for layer in model.model.layers:
        attention = layer.self_attn
        for g in range(c.num_key_value_heads):
            keys = slice(g * head, (g + 1) * head)
            basis, values = (torch.linalg.qr(torch.randn(width, head))[0].T for _ in range(2))
            attention.k_proj.weight[keys] = basis + 0.3 * attention.k_proj.weight[keys]
            attention.v_proj.weight[keys] = values
            for h in range(g * group, (g + 1) * group):
                queries = slice(h * head, (h + 1) * head)
                attention.q_proj.weight[queries] = basis + 0.3 * attention.q_proj.weight[queries]
                attention.o_proj.weight[:, queries] = 0.5 * values.T
    attention = model.model.layers[0].self_attn
    angle = c.rope_parameters["rope_theta"] ** (-torch.arange(0, head, 2) / head)
    size = 0.5 * (torch.arange(head // 2) < 12)  # the fast frequencies only: a narrow peak
    attention.q_proj.weight[:group * head] *= 0.1
    attention.k_proj.weight[:head] *= 0.1
    attention.k_proj.weight[:head, 0] = torch.cat([size, torch.zeros(head // 2)])
    for h in range(group):
        attention.q_proj.weight[h * head:(h + 1) * head, 0] = torch.cat(
            [size * torch.cos(angle), -size * torch.sin(angle)])


def encode_texts(texts, tokenizer, rng=None, other_tokens=0.0):
    """[(ids, counted)]: the tokens of each text, and which of them the loss counts."""
    rows = []
    for encoded in tokenizer.encode_batch(texts, add_special_tokens=False):
        mask = chat.answer_mask(encoded.ids, tokenizer)
        if other_tokens:
            mask = [m or int(rng.random() < other_tokens) for m in mask]
        rows.append((encoded.ids, mask))
    return rows


def drill(rng, vocab_size, begin):
    """Random tokens whose continuation can only be known by looking back: a sequence said twice,
    or pairs said three times in changing order. The loss counts what can be known."""
    if rng.random() < 0.5:
        once = [rng.randrange(len(chat.SPECIAL_TOKENS), vocab_size)
                for _ in range(rng.randint(5, 24))]
        return [begin, *once, *once], [0] * (len(once) + 2) + [1] * (len(once) - 1)
    pairs = [[rng.randrange(len(chat.SPECIAL_TOKENS), vocab_size) for _ in range(2)]
             for _ in range(rng.randint(2, 8))]
    ids, mask = [begin], [0]
    for known in [0, 1, 1]:
        rng.shuffle(pairs)
        for pair in pairs:
            ids += pair
            mask += [0, known]
    return ids, mask


def batches(next_rows, batch_tokens, pad, rng, pool=2048):
    """Endless batches (ids, counted): rows of similar length, padded on the right."""
    while True:
        rows = sorted(next_rows(pool), key=lambda row: len(row[0]))
        groups, group = [], []
        for row in rows:
            if group and (len(group) + 1) * len(row[0]) > batch_tokens:
                groups.append(group)
                group = []
            group.append(row)
        groups.append(group)
        rng.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            yield (torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in group]),
                   torch.tensor([mask + [0] * (width - len(mask)) for _, mask in group],
                                dtype=torch.bool))


def loss_of(model, ids, counted):
    """Mean cross entropy of the counted tokens; the head runs on the positions before them only."""
    # No attention mask: padding is on the right, so causality alone keeps it from being seen.
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    chosen = counted[:, 1:]
    logits = model.lm_head(hidden[chosen])
    return torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][chosen])


def rate(step, steps, peak, warmup):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))))


def save(model, folder):
    """model.safetensors in bf16 and config.json, with nothing of this machine in them."""
    saved = LlamaForCausalLM(model.config)
    saved.load_state_dict(model.state_dict())
    saved.to(torch.bfloat16).save_pretrained(folder)
    generation = {
        "bos_token_id": model.config.bos_token_id, "eos_token_id": model.config.eos_token_id,
        "pad_token_id": model.config.pad_token_id, "do_sample": True, "temperature": 0.7,
        "top_p": 0.95, "max_new_tokens": 128,
    }
    (chat.pathlib.Path(folder) / "generation_config.json").write_text(
        json.dumps(generation, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cooldown", action="store_true", help="the second part")
    parser.add_argument("--fp32", action="store_true", help="no bfloat16 matrix products")
    parser.add_argument("--out", default=str(chat.BASE))
    args = parser.parse_args()
    seed = SEED + args.cooldown
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = Tokenizer.from_file(str(chat.BASE / "tokenizer.json"))
    if args.cooldown:
        model = LlamaForCausalLM.from_pretrained(args.out, dtype=torch.float32)
    else:
        model = LlamaForCausalLM(config(tokenizer.get_vocab_size(), tokenizer))
        initialise(model)
    model.train()
    print(f"{model.num_parameters()} parameters", flush=True)
    decay = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05},
                                   {"params": rest, "weight_decay": 0.0}],
                                  lr=0.0, betas=(0.9, 0.98), foreach=True)
    first, last = (SPLIT, SPLIT + COOLDOWN_STEPS) if args.cooldown else (0, SPLIT)
    step = first

    def next_rows(count):
        share = next(share for until, share in DRILLS if step < until)
        drills = int(share * count)
        texts = [chat.as_text(world.example(rng)) for _ in range(count - drills)]
        return (encode_texts(texts, tokenizer, rng, OTHER_TOKENS)
                + [drill(rng, tokenizer.get_vocab_size(), model.config.bos_token_id)
                   for _ in range(drills)])

    source = batches(next_rows, BATCH_TOKENS, model.config.pad_token_id, rng)
    began, tokens, total = time.time(), 0, 0.0
    for step in range(first, last):
        ids, counted = next(source)
        for group in optimizer.param_groups:
            group["lr"] = (rate(step - first, COOLDOWN_STEPS, COOLDOWN_RATE, 30) if args.cooldown
                           else rate(step, STEPS, PEAK_RATE, WARMUP))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not args.fp32):
            loss = loss_of(model, ids, counted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        tokens += ids.numel()
        total += loss.item()
        if (step + 1) % 25 == 0:
            seconds = time.time() - began
            print(f"step {step + 1} loss {total / 25:.4f} tokens {tokens} "
                  f"{tokens / seconds:.0f} tokens/s {seconds / 60:.1f} min", flush=True)
            total = 0.0
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == last:
            save(model, args.out)


if __name__ == "__main__":
    main()
