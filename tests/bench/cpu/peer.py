"""peer.py — llama.cpp through llama-cpp-python's low-level calls, timed as the suite asks.

    peer.py SHAPE THREADS FOLDER

Answers one JSON request a line (see cpu.py). It is given every advantage its interface has: a
context made for exactly that many sequences, the default micro-batch and flash attention, weights
repacked for the processor, steps timed without sampling. Requests with different adapters are
never in one batch there (its server waits for the others to end), so their step is one step of
each alone; the switch of adapters and the step after it are not counted.
"""

import ctypes
import json
import math
import pathlib
import sys
import time

import gguf_files
import llama_cpp as llama
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
CONTEXT = 128      # positions before the decoded ones
DECODE_ROOM = 256  # positions a decoding sequence has room for
LOG_LEVEL_ERROR = 4  # ggml_log_level, which the bindings do not name


class Context:
    """Room for `num_seqs` sequences of `positions` each, empty."""

    def __init__(self, model, num_seqs, positions, threads):
        params = llama.llama_context_default_params()
        params.n_ctx = num_seqs * positions
        params.n_batch = max(params.n_batch, num_seqs)
        params.n_seq_max = params.n_outputs_max = num_seqs
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        self.handle = llama.llama_init_from_model(model, params)
        assert self.handle, "llama.cpp cannot make a context"
        self.memory = llama.llama_get_memory(self.handle)
        self.batch = llama.llama_batch_init(params.n_batch, 0, 1)
        self.vocab_size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        self.num_seqs = num_seqs

    def use(self, adapter):
        adapters = (llama.llama_adapter_lora_p_ctypes * 1)(adapter)
        scales = (ctypes.c_float * 1)(1.0)
        count = 0 if adapter is None else 1
        assert llama.llama_set_adapters_lora(self.handle, adapters, count, scales) == 0

    def fill(self):
        """Every sequence gets CONTEXT positions; one is computed and copied to the others."""
        llama.llama_memory_clear(self.memory, True)
        self.step([(0, position) for position in range(CONTEXT)])
        for seq in range(1, self.num_seqs):
            llama.llama_memory_seq_cp(self.memory, 0, seq, -1, -1)

    def decode(self, i):
        """Seconds of the i-th step of one token for each sequence."""
        rows = [(seq, CONTEXT + i) for seq in range(self.num_seqs)]
        return self.step(rows, all_logits=True)

    def forget_decoded(self):
        for seq in range(self.num_seqs):
            llama.llama_memory_seq_rm(self.memory, seq, CONTEXT, -1)

    def prefill(self, tokens):
        """Seconds for the prompt of one sequence, to the logits of its last token."""
        llama.llama_memory_clear(self.memory, False)
        return self.step([(0, position) for position in range(tokens)])

    def step(self, rows, all_logits=False):
        """Seconds that a batch of rows (sequence, position) takes."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (seq, position) in enumerate(rows):
            batch.token[i] = (seq * 1009 + position * 97 + 11) % self.vocab_size
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = seq
            batch.logits[i] = all_logits or i == len(rows) - 1
        began = time.perf_counter()
        status = llama.llama_decode(self.handle, batch)
        llama.llama_synchronize(self.handle)
        seconds = time.perf_counter() - began
        assert status == 0, f"llama_decode gives {status}"
        return seconds

    def last_logits(self):
        pointer = llama.llama_get_logits_ith(self.handle, -1)
        return np.ctypeslib.as_array(pointer, shape=(self.vocab_size,))


class Peer:
    def __init__(self, name, threads, folder):
        self.name, self.threads, self.folder = name, threads, folder
        self.shape = json.loads((HERE / "shapes.json").read_text())[name]
        llama.llama_backend_init()
        path = self.file("model", gguf_files.write_model)
        self.model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
        assert self.model, f"llama.cpp cannot load {path}"
        self.adapters = {}  # by number and rank
        self.contexts = {}

    def file(self, kind, write, *arguments):
        """The path of a cached file, written if there is none as new as this program."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}-{kind}.gguf"
        newest = max((HERE / source).stat().st_mtime for source in ("gguf_files.py", "shapes.json"))
        if not path.exists() or path.stat().st_mtime < newest:
            write(path, self.shape, *arguments)
        return str(path).encode()

    def adapter(self, number, rank):
        """One file a rank, loaded for every number: each adapter has memory of its own."""
        if (number, rank) not in self.adapters:
            path = self.file(f"adapter-r{rank}", gguf_files.write_adapter, rank)
            made = llama.llama_adapter_lora_init(self.model, path)
            assert made, f"llama.cpp cannot load {path}"
            self.adapters[number, rank] = made
        return self.adapters[number, rank]

    def context(self, num_seqs, positions):
        if (num_seqs, positions) not in self.contexts:
            made = Context(self.model, num_seqs, positions, self.threads)
            made.fill()
            assert math.isfinite(np.abs(made.last_logits()).sum()), "the peer's logits"
            self.contexts[num_seqs, positions] = made
        return self.contexts[num_seqs, positions]

    def step(self, seqs, tokens, adapters, ranks, steps):
        """Seconds of each of `steps` steps: `tokens` of each of `seqs`, over `adapters`."""
        if tokens > 1:
            assert seqs == 1 and adapters == 0
            context = self.context(1, tokens)
            return [context.prefill(tokens) for _ in range(steps)]
        used = [self.adapter(i, ranks[i % len(ranks)]) for i in range(adapters)]
        if adapters <= 1:
            return self.decode(seqs, used[0] if used else None, steps)
        alone = [self.decode(1, used[i % adapters], steps) for i in range(seqs)]
        return [sum(seconds) for seconds in zip(*alone)]

    def decode(self, seqs, adapter, steps):
        context = self.context(seqs, DECODE_ROOM)
        context.use(adapter)
        seconds = [context.decode(i) for i in range(1 + steps)]
        context.forget_decoded()
        return seconds[1:]  # the first one wakes the threads and plans the graph


def build_name():
    system = llama.llama_print_system_info().decode()
    on = [part.split(" = ")[0].split(" : ")[-1].strip() for part in system.split("|")
          if part.strip().endswith("= 1")]
    return f"llama-cpp-python {llama.__version__} ({', '.join(on)})"


@llama.llama_log_callback
def only_errors(level, text, _):
    if level == LOG_LEVEL_ERROR:
        sys.stderr.write(text.decode(errors="replace"))


def main():
    llama.llama_log_set(only_errors, ctypes.c_void_p(0))
    name, threads, folder = sys.argv[1:]
    peer = Peer(name, int(threads), pathlib.Path(folder))
    print(json.dumps(dict(name=build_name())), flush=True)
    for line in sys.stdin:
        print(json.dumps(dict(seconds=peer.step(**json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
