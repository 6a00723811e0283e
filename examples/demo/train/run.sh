#!/usr/bin/env bash
# run.sh — makes the demo from nothing: tokenizer, base, held-out prompts, adapters, and the table.
set -euo pipefail
cd "$(dirname "$0")"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} HF_HUB_OFFLINE=1
python make_tokenizer.py
python train_base.py
python train_base.py --cooldown
python make_heldout.py
for adapter in order-json triage morvish; do
  python train_adapter.py "$adapter"
done
python evaluate.py --samples
python evaluate.py
