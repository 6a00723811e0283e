# make_heldout.py — writes 200 prompts and exact answers for each adapter, from the held-out
# sentences only. The prompts of the three sets are of the same kind: the adapter decides.

import json
import random

import chat
import world

COUNT = 200


def main():
    chat.HELD_OUT.mkdir(exist_ok=True)
    rng = random.Random(47)
    for name, task in world.ADAPTER_TASKS.items():
        pairs = {}
        while len(pairs) < COUNT:
            s = world.sentence(rng, held_out=True)
            pairs[s.text] = task(s)
        with open(chat.HELD_OUT / f"{name}.jsonl", "w", encoding="utf-8") as out:
            for prompt, expected in pairs.items():
                line = {"prompt": prompt, "expected": expected}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
