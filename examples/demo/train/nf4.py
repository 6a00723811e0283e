# nf4.py — the base as it is served: all seven linears of each layer in NF4.
#
# A server that keeps the base in 4 bits computes with quantise-then-dequantise values. Adapters
# are trained on those values (QLoRA, Dettmers et al., 2023), so that they correct for the rounding
# instead of suffering from it. Blocks of 64, double quantisation, as bitsandbytes defines them;
# embeddings, head and norms stay as they are. We put the dequantised values into ordinary linears,
# since that is all the arithmetic that matters here, and is fast on a CPU.

import bitsandbytes.functional as bnb
import torch
from transformers import AutoModelForCausalLM

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def round_trip(weight):
    quantised, state = bnb.quantize_4bit(weight.float().contiguous(), blocksize=64,
                                         compress_statistics=True, quant_type="nf4")
    return bnb.dequantize_4bit(quantised, state).float()


def load_base(folder, nf4=True):
    """The saved base in float32, with its linears rounded to NF4 unless told otherwise."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.name_or_path = "tessera-demo"  # what adapters are to call their base
    if nf4:
        with torch.no_grad():
            for name, module in model.named_modules():
                if name.rsplit(".", 1)[-1] in LINEARS:
                    module.weight.copy_(round_trip(module.weight))
    return model.eval()
