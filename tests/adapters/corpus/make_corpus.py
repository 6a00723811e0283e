#!/usr/bin/env python3
"""make_corpus.py — adapters of every kind that PEFT writes, and what PEFT says of them.

For corpus_test.cpp. Bases are the small random models of tests/goldens/make_architecture_goldens.py
(every architecture that is served), whose weights the test makes again from their seeds. Into a
directory this writes

  index.json                    one entry an adapter: base, name, and what it changes ("accepted":
                                "more" or "nothing") or the codes of which the report must have one
  <base>/<name>/                adapter_config.json, adapter_model.safetensors, by save_pretrained
  <base>/<name>/logits.safetensors   of an accepted one: "<prompt>" (rows, vocab), the logits of the
                                last rows in fp32, of the model that PEFT loads from these files

Variants are those of VARIANTS and REFUSED; ranks 1 to 256, the dtypes and the targets go round. A
variant that PEFT itself does not construct for a base is left out, and told. What PEFT cannot be
made to write (a config by hand, a broken file) is an edit of what it wrote.

Usage, in an environment with torch, transformers, peft and bitsandbytes:
    make_corpus.py DIRECTORY            all of it
    make_corpus.py --sample             a few small ones of each kind into sample/
"""

import copy
import itertools
import json
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")

import peft
import safetensors.torch
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "goldens"))
import make_architecture_goldens as goldens  # noqa: E402
from make_goldens import seed_of  # noqa: E402

PROMPTS = 2  # the first of the golden ones: 5 and 40 tokens
ROWS = 2
RANKS = [1, 2, 3, 4, 8, 16, 5, 32, 64, 7, 100, 128, 13, 256]
DTYPES = [torch.bfloat16, torch.float32, torch.float16]
BLOCKS = 2
LEAST_CHANGE = 2e-3  # what an adapter changes at least, or nothing was shown


# --- targets, by base --------------------------------------------------------------------------

class Base:
    """A base, and how its modules are called."""

    def __init__(self, case, directory):
        self.case = case
        self.model = goldens.load(directory, nf4=False)
        self.model.name_or_path = self.model.config.name_or_path = case
        config = self.model.config.get_text_config()
        self.tied = config.tie_word_embeddings
        self.vision = case == "gemma3-vision"
        self.fused = case.startswith("phi")
        self.experts = getattr(config, "num_experts_per_tok", 0) or 0
        self.biases = any(n.endswith("proj.bias") and "vision" not in n
                          for n, _ in self.model.named_parameters())
        self.vocab = config.vocab_size
        self.prompts = goldens.prompts_of(case, self.vocab)[:PROMPTS]
        self.logits = [goldens.logits_of(self.model, ids, ROWS) for ids in self.prompts]

    def targets(self, *names):
        """A list of names, or a regex where names alone would take the vision tower's too."""
        names = [n for name in names for n in self.named(name)]
        if not self.vision:
            return names
        layers = [n for n in names if n not in ("embed_tokens", "lm_head")]
        ends = [r"model\.language_model\.embed_tokens"] * ("embed_tokens" in names)
        ends += ["lm_head"] * ("lm_head" in names)
        ends += [rf".*language_model.*\.({'|'.join(layers)})"] * bool(layers)
        return "|".join(ends)

    def named(self, name):
        if name == "linears":
            if self.experts:
                return goldens.ATTENTION
            return goldens.FUSED if self.fused else goldens.LINEARS
        if self.fused:
            return {"q_proj": ["qkv_proj"], "k_proj": ["qkv_proj"], "v_proj": ["qkv_proj"],
                    "up_proj": ["gate_up_proj"], "gate_proj": ["gate_up_proj"]}.get(name, [name])
        if self.experts and name in ("up_proj", "gate_proj", "down_proj"):
            return ["k_proj"]
        return [name]


class NotForThisBase(Exception):
    pass


def only(condition):
    if not condition:
        raise NotForThisBase


# --- variants: functions of a base that give the fields of a LoraConfig ---------------------------

def plain(base):
    return dict(target_modules=base.targets("q_proj", "v_proj"))


def linears(base):
    return dict(target_modules=base.targets("linears"))


def all_linear(base):
    only(not base.vision and not base.experts)
    return dict(target_modules="all-linear")


def patterns(base):
    return linears(base) | dict(
        use_rslora=True, rank_pattern={r"layers\.[12]\.self_attn\.o_proj": 3, "o_proj": 6},
        alpha_pattern={r".*\.0\..*": 2.5, "o_proj": 24})


def names_of_all(base):
    """As trainers list them: the names of every architecture at once."""
    only(not base.vision and not base.experts)
    return dict(target_modules=goldens.LINEARS + goldens.FUSED + ["c_attn", "w1"])


def rslora(base):
    return linears(base) | dict(use_rslora=True, lora_alpha=5)


def selected(base):
    only(not base.vision)
    return linears(base) | dict(layers_to_transform=[0], exclude_modules=base.targets("k_proj"))


def by_regex(base):
    only(not base.vision)
    return dict(target_modules=r".*\.(0|1)\.self_attn\.(qkv|q|o)_proj")


def float_alpha(base):
    return plain(base) | dict(lora_alpha=2.828427)


def gaussian(base):
    return plain(base) | dict(init_lora_weights="gaussian", lora_dropout=0.1)


def orthogonal(base):
    return plain(base) | dict(init_lora_weights="orthogonal", r=4)


def mica(base):
    return plain(base) | dict(init_lora_weights="mica", r=8)


def velora(base):
    return plain(base) | dict(
        velora_config=peft.tuners.lora.config.VeloraConfig(init_type="random", num_groups=4))


def tables(base):
    return dict(target_modules=base.targets("embed_tokens", "lm_head", "q_proj"))


def embedding(base):
    return dict(target_modules=base.targets("embed_tokens", "o_proj"), rank_pattern={"o_proj": 2})


def dora(base):
    return linears(base) | dict(use_dora=True)


def dora_patterns(base):
    return patterns(base) | dict(use_dora=True)


def dora_tables(base):
    return tables(base) | dict(use_dora=True)


def dora_bias(base):
    only(base.biases)
    return linears(base) | dict(use_dora=True, bias="all")


def lora_bias(base):
    return linears(base) | dict(lora_bias=True, use_rslora=True)


def head_bias(base):
    return dict(target_modules=base.targets("lm_head", "v_proj"), lora_bias=True)


def bias_all(base):
    only(base.biases and not base.vision)
    return dict(target_modules=base.targets("q_proj"), bias="all")


def bias_lora_only(base):
    only(not base.vision)
    return plain(base) | dict(bias="lora_only")


def both_biases(base):
    only(base.biases)
    return linears(base) | dict(bias="lora_only", lora_bias=True)


def tokens(base):
    return plain(base) | dict(trainable_token_indices=tokens_of(base, 3))


def tokens_of_both(base):
    return plain(base) | dict(trainable_token_indices={
        "embed_tokens": tokens_of(base, 3), "lm_head": tokens_of(base, 3)})


def tokens_of_each(base):
    return plain(base) | dict(trainable_token_indices={
        "embed_tokens": tokens_of(base, 3), "lm_head": [7, 2]})


def tokens_of_head(base):
    return plain(base) | dict(trainable_token_indices={"lm_head": [9, 4, 5]})


def tokens_and_head(base):
    return dict(target_modules=base.targets("lm_head", "q_proj"),
                trainable_token_indices=tokens_of(base, 2))


def tokens_dora(base):
    return dora(base) | dict(trainable_token_indices=tokens_of(base, 2))


def tokens_dora_head(base):
    return tokens_and_head(base) | dict(use_dora=True)


def tokens_of(base, count):
    """Of the prompts, in no order, so that their rows are read."""
    return list(dict.fromkeys(base.prompts[0] + base.prompts[1]))[:count][::-1]


def saved_head(base):
    return plain(base) | dict(modules_to_save=["lm_head"])


def saved_embedding(base):
    return plain(base) | dict(modules_to_save=["embed_tokens"])


def saved_both(base):
    return plain(base) | dict(modules_to_save=["embed_tokens", "lm_head"])


def saved_tied(base):
    return saved_embedding(base) | dict(ensure_weight_tying=True)


def saved_and_targeted(base):
    return dict(target_modules=base.targets("embed_tokens", "q_proj"), modules_to_save=["lm_head"])


def tied_pairs(base):
    only(not base.vision)
    return dict(target_modules=base.targets("embed_tokens", "q_proj"), ensure_weight_tying=True)


def tied_head(base):
    only(not base.vision)
    return dict(target_modules=base.targets("lm_head", "q_proj"), ensure_weight_tying=True)


def invocation(base, start=12, count=3):
    return base.prompts[1][start:start + count]


def alora(base):
    return linears(base) | dict(alora_invocation_tokens=invocation(base))


def alora_bias(base):
    return linears(base) | dict(alora_invocation_tokens=invocation(base, 20, 1), lora_bias=True)


def alora_head(base):
    return dict(target_modules=base.targets("lm_head", "v_proj"),
                alora_invocation_tokens=invocation(base, 38, 2))


def alora_absent(base):
    return linears(base) | dict(alora_invocation_tokens=[3, 3, 3, 3, 3, 3])


def bdlora(base):
    b = peft.tuners.lora.config.BdLoraConfig
    return linears(base) | dict(use_bdlora=b(
        target_modules_bd_a=["o_proj", "down_proj"], nblocks=BLOCKS,
        target_modules_bd_b=["q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj",
                             "gate_up_proj"]))


def bdlora_bias(base):
    b = peft.tuners.lora.config.BdLoraConfig
    return dict(target_modules=base.targets("q_proj", "o_proj", "v_proj"), lora_bias=True,
                use_bdlora=b(target_modules_bd_a=["o_proj"], nblocks=BLOCKS, match_strict=False,
                             target_modules_bd_b=["q_proj"]))


def parameters(base):
    only(base.experts)
    return plain(base) | dict(target_parameters=goldens.EXPERT_PARAMETERS)


def parameters_alone(base):
    only(base.experts)
    return dict(target_modules=base.targets("o_proj"), use_rslora=True,
                target_parameters=goldens.EXPERT_PARAMETERS[:1])


def pissa_converted(base):
    return plain(base) | dict(init_lora_weights="pissa")


def pissa_rslora_converted(base):
    return linears(base) | dict(init_lora_weights="pissa_niter_4", use_rslora=True)


def olora_converted(base):
    return linears(base) | dict(
        init_lora_weights="olora", rank_pattern={"o_proj": 2}, alpha_pattern={"o_proj": 3})


VARIANTS = [
    plain, linears, all_linear, names_of_all,
    patterns, rslora, selected, by_regex, float_alpha, gaussian,
    orthogonal, mica, velora, tables, embedding, dora, dora_patterns, dora_tables, dora_bias,
    lora_bias, head_bias, bias_all, bias_lora_only, both_biases, tokens, tokens_of_both,
    tokens_of_each, tokens_of_head, tokens_and_head, tokens_dora, tokens_dora_head, saved_head,
    saved_embedding, saved_both, saved_tied, saved_and_targeted, tied_pairs, tied_head, alora,
    alora_bias, alora_head, alora_absent, bdlora, bdlora_bias, parameters, parameters_alone,
    pissa_converted, pissa_rslora_converted, olora_converted]
# Whose rank is bounded by the model's width, or doubled or divided.
NARROW = {"pissa_converted", "pissa_rslora_converted", "olora_converted", "orthogonal", "mica",
          "olora", "pissa"}


# --- what is refused ------------------------------------------------------------------------------

def edited(**fields):
    """A plain adapter whose config says something else."""
    def edit(base, folder):
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text())
        config.update({k: v(base) if callable(v) else v for k, v in fields.items()})
        path.write_text(json.dumps(config, indent=2, sort_keys=True))
    return edit


def retensored(change):
    """A plain adapter whose tensors are others."""
    def edit(_, folder):
        path = folder / "adapter_model.safetensors"
        tensors = change(safetensors.torch.load_file(path))
        tensors = {k: v.contiguous() for k, v in tensors.items()}
        safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    return edit


def first(tensors, end):
    return sorted(name for name in tensors if name.endswith(end))[0]


def with_first(end, change):
    return retensored(lambda t: t | {first(t, end): change(t[first(t, end)])})


def without_first(end):
    return retensored(lambda t: {k: v for k, v in t.items() if k != first(t, end)})


def pissa(base):
    return plain(base) | dict(init_lora_weights="pissa")


def olora(base):
    return plain(base) | dict(init_lora_weights="olora")


def saved_norm(base):
    return plain(base) | dict(modules_to_save=["norm"])


def router(base):
    only(base.experts)
    return dict(target_modules=["q_proj"], target_parameters=["mlp.gate.weight"])


def kasa(base):
    return plain(base) | dict(kasa_config=peft.tuners.lora.config.KasaConfig())


def monteclora(base):
    return plain(base) | dict(monteclora_config=peft.tuners.lora.config.MontecloraConfig())


def alora_tokens(base):
    return alora(base) | dict(trainable_token_indices=tokens_of(base, 2))


def alora_saved(base):
    return alora(base) | dict(modules_to_save=["lm_head"])


def alora_biases(base):
    return alora(base) | dict(bias="all")


def too_wide(base):
    return plain(base) | dict(r=257)


def vision_tower(base):
    only(base.vision)
    return dict(target_modules=["q_proj"])


def lookahead(base):
    only(not base.vision)
    return dict(target_modules=r".*\.0\.self_attn\.(?!k|v|o)\w+_proj")


def of_another_type(config_class, **fields):
    def make(base):
        return config_class(task_type="CAUSAL_LM", target_modules=base.targets("q_proj"), **fields)
    return make


NAN = float("nan")
# name: (variant or other config, edit or None, codes)
REFUSED = {
    "pissa": (pissa, None, ["unsupported_init_lora_weights"]),
    "olora": (olora, None, ["unsupported_init_lora_weights"]),
    "corda": (plain, edited(init_lora_weights="corda"), ["unsupported_init_lora_weights"]),
    "loftq": (plain, edited(init_lora_weights="loftq"), ["unsupported_init_lora_weights"]),
    "lora_ga": (plain, edited(init_lora_weights="lora_ga"), ["unsupported_init_lora_weights"]),
    "saved_norm": (saved_norm, None, ["unsupported_modules_to_save"]),
    "router": (router, None, ["unsupported_target_parameters"]),
    "kasa": (kasa, None, ["unsupported_kasa"]),
    "monteclora": (monteclora, None, ["unsupported_monteclora"]),
    "alora_tokens": (alora_tokens, None, ["unsupported_trainable_tokens"]),
    "alora_saved": (alora_saved, None, ["unsupported_modules_to_save"]),
    "alora_biases": (alora_biases, None, ["unsupported_bias"]),
    "alora_alien": (alora, edited(alora_invocation_tokens=lambda b: [b.vocab]),
                    ["invalid_config_value"]),
    "too_wide": (too_wide, None, ["rank_too_large"]),
    "vision_tower": (vision_tower, None, ["unbound_tensor"]),
    "lookahead": (lookahead, None, ["unsupported_regex"]),
    "loha": (of_another_type(peft.LoHaConfig), None, ["unsupported_peft_type"]),
    "lokr": (of_another_type(peft.LoKrConfig), None, ["unsupported_peft_type"]),
    "ia3": (of_another_type(peft.IA3Config, feedforward_modules=[]), None,
            ["unsupported_peft_type"]),
    "vera": (of_another_type(peft.VeraConfig), None, ["unsupported_peft_type"]),
    "qalora": (plain, edited(use_qalora=True), ["unsupported_qalora"]),
    "layer_replication": (plain, edited(layer_replication=[[0, 1], [0, 2]]),
                          ["unsupported_layer_replication"]),
    "arrow": (plain, edited(arrow_config=dict(top_k=2)), ["unsupported_arrow"]),
    "megatron": (plain, edited(megatron_config=dict(a=1)), ["unsupported_megatron"]),
    "classifier": (plain, edited(task_type="SEQ_CLS"), ["unsupported_task_type"]),
    "other_base": (plain, edited(base_model_name_or_path="another/model"), ["base_model_mismatch"]),
    "new_field": (plain, edited(use_next_years_lora=True), ["unknown_config_field"]),
    "pattern": (plain, edited(rank_pattern={"nothing": 3}), ["pattern_matches_nothing"]),
    "alpha": (plain, edited(lora_alpha=0), ["invalid_config_value"]),
    "dora_lost": (plain, edited(use_dora=True), ["missing_magnitude"]),
    "dora_hidden": (dora, edited(use_dora=False), ["undeclared_tensor"]),
    "bias_lost": (plain, edited(lora_bias=True), ["missing_lora_bias"]),
    "bias_hidden": (lora_bias, edited(lora_bias=False), ["undeclared_tensor"]),
    "tokens_lost": (plain, edited(trainable_token_indices=[1, 2]), ["missing_rows"]),
    "tokens_hidden": (tokens, edited(trainable_token_indices=None), ["undeclared_tensor"]),
    "tokens_alien": (tokens, edited(trainable_token_indices=lambda b: [0, 1, b.vocab]),
                     ["invalid_config_value"]),
    "saved_lost": (plain, edited(modules_to_save=["lm_head"]), ["missing_rows"]),
    "blocks": (bdlora, edited(use_bdlora=dict(target_modules_bd_a=["o_proj"], nblocks=2)),
               ["invalid_config_value"]),
    "dora_bdlora": (bdlora, edited(use_dora=True), ["invalid_config_value"]),
    "drifted": (plain, retensored(lambda t: {
        k.replace("base_model.model.", "base_model.model.x."): v for k, v in t.items()}),
                ["unbound_tensor"]),
    "without_a": (plain, without_first("lora_A.weight"), ["missing_lora_a"]),
    "without_b": (plain, without_first("lora_B.weight"), ["missing_lora_b"]),
    "not_finite": (plain, with_first("lora_B.weight", lambda t: t * NAN), ["non_finite_value"]),
    "magnitude_not_finite": (dora, with_first("magnitude_vector", lambda t: t * NAN),
                             ["non_finite_value"]),
    "huge": (plain, with_first("lora_A.weight", lambda t: t + 3e4), ["value_too_large"]),
    "integers": (plain, with_first("lora_A.weight", lambda t: t.to(torch.int32)),
                 ["unsupported_tensor_dtype"]),
    "transposed": (plain, with_first("lora_A.weight", lambda t: t.T), ["tensor_shape_mismatch",
                                                                       "rank_mismatch"]),
    "doubled_rank": (plain, retensored(lambda t: {
        k: torch.cat([v, v], 0 if "lora_A" in k else 1) for k, v in t.items()}), ["rank_mismatch"]),
}


# --- adapters -------------------------------------------------------------------------------------

def randomise(model, strength):
    """Moves every trained tensor away from where PEFT started it, where it changes nothing. In
    place, as an optimizer does: tied pairs are one memory."""
    for key, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        noise = torch.randn(weight.shape)
        if "lora_A" in key or "lora_embedding_A" in key:
            weight.data.copy_(noise * weight.shape[-1] ** -0.5)
        elif "lora_B" in key or "lora_embedding_B" in key:
            weight.data.copy_(noise * strength)
        elif "magnitude" in key:
            weight.data *= 1 + strength * noise
        elif weight.dim() == 2 and weight.shape[0] > 70:  # a whole table: some of its rows
            weight.data[::5] += strength * weight.data.std() * noise[::5]
        else:
            weight.data += strength * noise
        weight.data.copy_(weight.data.bfloat16().float())


def store_as(folder, dtype):
    path = folder / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def write(base, config, folder, dtype, strength):
    """PEFT's own files."""
    model = peft.get_peft_model(copy.deepcopy(base.model), config)
    is_converted = folder.name.endswith("_converted")
    if is_converted:
        model.peft_config["default"].init_lora_weights = True
        model.save_pretrained(folder / "initial")
        model.peft_config["default"].init_lora_weights = config.init_lora_weights
        for key, weight in model.named_parameters():
            if "lora_" in key:
                weight.data += strength * torch.randn(weight.shape) * weight.data.std()
    else:
        randomise(model, strength)
    model.peft_config["default"].base_model_name_or_path = base.case
    options = {}
    if is_converted:
        options["path_initial_model_for_weight_conversion"] = str(folder / "initial")
    model.save_pretrained(folder, **options)
    shutil.rmtree(folder / "initial", ignore_errors=True)
    (folder / "README.md").unlink(missing_ok=True)
    store_as(folder, dtype)


def logits_of(base, folder):
    """Of what PEFT makes of the files, in fp32."""
    model = peft.PeftModel.from_pretrained(copy.deepcopy(base.model), folder)
    model = model.float().eval()
    if base.experts:
        goldens.check_routes(model, base.experts)
    return {str(i): goldens.logits_of(model, ids, ROWS).contiguous()
            for i, ids in enumerate(base.prompts)}


def change_of(logits, own):
    """Of a row, as a part of its largest logit."""
    return ((logits - own).abs().amax(-1) / own.abs().amax(-1)).max().item()


def make_config(fields, rank):
    if not isinstance(fields, dict):
        return fields
    return peft.LoraConfig(**(dict(r=rank, lora_alpha=8, task_type="CAUSAL_LM") | fields))


def make_accepted(base, variant, folder, rank, dtype):
    """Weaker and weaker until no expert's choice is a close one."""
    for strength in (0.1, 0.03, 0.01):
        shutil.rmtree(folder, ignore_errors=True)
        torch.manual_seed(seed_of(base.case, folder.name))
        write(base, make_config(variant(base), rank), folder, dtype, strength)
        try:
            logits = logits_of(base, folder)
            break
        except AssertionError:
            logits = None
    assert logits is not None, f"{base.case}/{folder.name}: a close choice of an expert"
    change = max(change_of(logits[str(i)], own) for i, own in enumerate(base.logits))
    assert (change > LEAST_CHANGE) == (folder.name != "alora_absent"), f"{folder}: {change}"
    safetensors.torch.save_file(logits, folder / "logits.safetensors")


def make_refused(base, row, folder, rank, dtype):
    variant, edit, _ = row
    torch.manual_seed(seed_of(base.case, folder.name))
    write(base, make_config(variant(base), rank), folder, dtype, 0.1)
    if edit is not None:
        edit(base, folder)


class Corpus:
    def __init__(self, root):
        self.root = root
        self.index = []
        self.left_out = []

    def make(self, base, name, codes, make):
        folder = self.root / base.case / name
        try:
            make(folder)
        except NotForThisBase:
            shutil.rmtree(folder, ignore_errors=True)
            return
        except (ValueError, TypeError, AttributeError, RuntimeError, KeyError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            self.left_out.append(f"{base.case}/{name}: {type(error).__name__}: {str(error)[:120]}")
            return
        entry = dict(base=base.case, name=name)
        if codes:
            entry["refused"] = codes
        else:
            entry["accepted"] = "nothing" if name == "alora_absent" else "more"
        self.index.append(entry)

    def finish(self):
        lines = ",\n".join("  " + json.dumps(entry) for entry in self.index)
        (self.root / "index.json").write_text(f"[\n{lines}\n]\n")
        for line in self.left_out:
            print("left out:", line)
        accepted = sum("accepted" in entry for entry in self.index)
        refused = len(self.index) - accepted
        print(f"peft {peft.__version__}: {accepted} accepted, {refused} refused, "
              f"{len(self.left_out)} that PEFT does not make")


def make_all(corpus, bases, is_wanted, ranks):
    turn = itertools.count()
    for case in bases:
        with tempfile.TemporaryDirectory() as scratch:
            goldens.make_checkpoint(case, pathlib.Path(scratch))
            base = Base(case, pathlib.Path(scratch))
        for variant in VARIANTS:
            n = next(turn)
            name = variant.__name__
            if not is_wanted(base, name, n):
                continue
            rank = ranks[n % len(ranks)]
            if name.startswith("bdlora"):
                rank += rank % 2
            if name in NARROW:
                rank = min(rank, 16)
            dtype = DTYPES[n % len(DTYPES)]
            corpus.make(base, name, None,
                        lambda folder: make_accepted(base, variant, folder, rank, dtype))
        for name, row in REFUSED.items():
            n = next(turn)
            if not is_wanted(base, name, n):
                continue
            rank = 4 if name in ("blocks", "dora_bdlora") else min(ranks[n % len(ranks)], 16)
            dtype = DTYPES[n % len(DTYPES)]
            corpus.make(base, name, row[2],
                        lambda folder: make_refused(base, row, folder, rank, dtype))


# Each refusal on a few bases is enough: what they are about is not the base.
def is_in_all(base, name, n):
    if name not in REFUSED or name in ("router", "vision_tower"):
        return True
    return (list(goldens.CASES).index(base.case) + list(REFUSED).index(name)) % 5 == 0


# One base a name, by turns.
def is_in_sample(base, name, n):
    of_their_own = dict(router="mixtral", vision_tower="gemma3-vision", parameters="mixtral",
                        parameters_alone="qwen3-moe", bias_all="qwen2", both_biases="qwen2",
                        bias_lora_only="qwen2", dora_bias="llama-dynamic", tied_pairs="qwen3",
                        tied_head="llama3", saved_tied="gemma2", tokens="gemma3-vision",
                        tokens_of_each="llama3", tokens_of_both="qwen3", dora_tables="gemma2",
                        tables="gemma3", tokens_dora_head="qwen3")
    names = [v.__name__ for v in VARIANTS] + list(REFUSED)
    cases = ["llama2", "mistral", "qwen3", "phi3", "olmo2", "granite", "smollm3"]
    if name in ("too_wide", "vera"):
        return False  # the files would be, too
    return base.case == of_their_own.get(name, cases[names.index(name) % len(cases)])


def main():
    torch.set_num_threads(1)
    is_sample = "--sample" in sys.argv
    root = HERE / "sample" if is_sample else pathlib.Path(sys.argv[1])
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    corpus = Corpus(root)
    if is_sample:
        make_all(corpus, goldens.CASES, is_in_sample, ranks=[2, 1])
    else:
        make_all(corpus, goldens.CASES, is_in_all, RANKS)
    corpus.finish()


if __name__ == "__main__":
    main()
