"""peer.py — Hugging Face `tokenizers`, answering what driver.cpp answers.

One JSON object a line, as driver.cpp describes them. `load_gguf` is not known here: the peer reads
the tokenizer.json that our side wrote.
"""

import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tokenizers


class Peer:
    def __init__(self):
        self.tokenizer = None

    def answer(self, request):
        if "load" in request:
            self.tokenizer = tokenizers.Tokenizer.from_file(request["load"])
            self.tokenizer.no_truncation()
            self.tokenizer.no_padding()
            return dict(vocab_size=self.tokenizer.get_vocab_size())
        if "encode" in request:
            self.tokenizer.encode_special_tokens = request.get("plain", False)
            encode = self.tokenizer.encode
            return dict(ids=[encode(text, add_special_tokens=False).ids
                             for text in request["encode"]])
        if "frame" in request:
            self.tokenizer.encode_special_tokens = False
            return dict(ids=self.tokenizer.encode(request["frame"]).ids)
        if "time" in request:
            return self.time(request["time"])
        skip = request.get("skip", True)
        return dict(texts=[self.tokenizer.decode(ids, skip_special_tokens=skip)
                           for ids in request["decode"]])

    def time(self, texts):
        """With the fastest there is: offsets, which we do not give either, are not computed."""
        self.tokenizer.encode_special_tokens = False
        start = time.perf_counter()
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        tokens = sum(len(encoding.ids) for encoding in encodings)
        return dict(seconds=time.perf_counter() - start, tokens=tokens)


def main():
    peer = Peer()
    print(json.dumps(dict(name=f"tokenizers {tokenizers.__version__}")), flush=True)
    for line in sys.stdin:
        print(json.dumps(peer.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
