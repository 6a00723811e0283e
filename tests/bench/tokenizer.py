"""tokenizer — real tokenizers beside Hugging Face's: equal ids, equal text, and speed.

For each vocabulary that tokenizer/vocabularies.py finds, fuzzed strings (tokenizer/texts.py) are
encoded by Tessera (tokenizer/driver.cpp) and by the peer (tokenizer/peer.py, one thread), and what
the ids decode to is compared too, whole, token by token, and for ids chosen at random. Then both
encode the same text in turns; a ratio is taken within a round, the peer's seconds over ours.

The first bar of a tokenizer counts the strings that differ, and must be none.
"""

import json
import os
import pathlib
import random
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE / "tokenizer"))

import bench_report
import texts

FOLDER = ROOT / "build" / "bench" / "tokenizer"
STRINGS, QUICK_STRINGS = 100_000, 2_000
BATCH = 1_000
ROUNDS, QUICK_ROUNDS = 7, 3
SPECIALS_MAX = 60  # added tokens that strings are made with
TIMED_BYTES = 1_000_000
SOURCES = ("*.md", "*/*.hpp", "*/*.cpp", "tests/*/*.py")  # of this repository: prose and code
MARKER = "\n__ggml_vocab_test__\n"  # between llama.cpp's texts


class Worker:
    """A program that answers one JSON object a line."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(word) for word in command], encoding="utf-8",
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.name = self.read()["name"]

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.read()
        if "error" in answer:
            sys.exit(f"{self.process.args[0]}: {answer['error']}")
        return answer

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended with status {self.process.wait()}")
        return json.loads(line)


class Comparison:
    """Of one tokenizer: strings that differ, and seconds."""

    def __init__(self, name, driver, peer):
        self.name, self.driver, self.peer = name, driver, peer
        self.strings = self.different = 0

    def load(self, path):
        """Loads it on both sides; a GGUF vocabulary by way of the tokenizer.json made of it."""
        made = path
        if path.name.endswith(".vocabulary.json"):
            made = FOLDER / (self.name + ".made.json")
            self.driver.ask(load_gguf=str(path), write=str(made))
        else:
            self.driver.ask(load=str(path))
        self.vocab_size = self.peer.ask(load=str(made))["vocab_size"]
        self.file = json.loads(made.read_text())
        self.specials = [token["content"] for token in self.file["added_tokens"][:SPECIALS_MAX]]

    def differ(self, what, theirs, ours, whole):
        """Counts what is not equal, and shows the first few."""
        for a, b, text in zip(theirs, ours, whole, strict=True):
            if a == b:
                continue
            self.different += 1
            if self.different <= 5:
                print(f"    {self.name}: {what} {text!r}\n      theirs {a!r}\n      ours   {b!r}")

    def compare(self, count):
        strings = list(texts.strings(count, self.specials))
        rng = random.Random(texts.SEED)
        for begin in range(0, count, BATCH):
            batch = strings[begin:begin + BATCH]
            ids = self.peer.ask(encode=batch)["ids"]
            self.differ("ids of", ids, self.driver.ask(encode=batch)["ids"], batch)
            self.compare_decoding(ids, skip=False)
            chosen = [[rng.randrange(self.vocab_size) for _ in range(rng.randrange(1, 12))]
                      for _ in range(BATCH // 10)]
            self.compare_decoding(chosen, skip=True)
            self.strings += len(batch)
        plain = strings[:BATCH]
        self.differ("plain ids of", self.peer.ask(encode=plain, plain=True)["ids"],
                    self.driver.ask(encode=plain, plain=True)["ids"], plain)
        framed = [strings[0], "the lamp"]
        self.differ("framed ids of", [self.peer.ask(frame=text)["ids"] for text in framed],
                    [self.driver.ask(frame=text)["ids"] for text in framed], framed)
        self.compare_with_llama_cpp()

    def compare_decoding(self, ids, skip):
        theirs = self.peer.ask(decode=ids, skip=skip)["texts"]
        self.differ("text of", theirs, self.driver.ask(decode=ids, skip=skip)["texts"], ids)
        self.differ("stream of", theirs, self.driver.ask(stream=ids, skip=skip)["texts"], ids)

    def compare_with_llama_cpp(self):
        """Its own expectations, where it has some; it does not normalise, the family may."""
        inputs = FOLDER / (self.name + ".gguf.inp")
        if not inputs.exists() or not (FOLDER / (self.name + ".vocabulary.json")).exists():
            return
        given = inputs.read_text().split(MARKER)
        lines = (FOLDER / (self.name + ".gguf.out")).read_text().split("\n")
        expected = [[int(word) for word in line.split()] for line in lines]
        ours = self.driver.ask(encode=given)["ids"]
        rows = [row for row in zip(expected, ours, given) if not self.normalises(row[2])]
        self.differ("llama.cpp's ids of", *zip(*rows))

    def normalises(self, text):
        import unicodedata
        normalizer = self.file["normalizer"] or {}
        return normalizer.get("type") == "NFC" and unicodedata.normalize("NFC", text) != text

    def time(self, rounds, documents):
        """Seconds of each round, ours and the peer's, each first in every other round."""
        own, theirs = [], []
        for turn in range(rounds + 1):
            sides = [(self.driver, own), (self.peer, theirs)][::1 if turn % 2 else -1]
            for side, seconds in sides:
                answer = side.ask(time=documents)["seconds"]
                if turn > 0:  # the first one warms up
                    seconds.append(answer)
        return own, theirs


def timed_text():
    """Documents of this repository's text and, as that is English and code, of other languages."""
    paths = sorted(path for pattern in SOURCES for path in ROOT.glob(pattern))
    paths = [path for path in paths if "build" not in path.relative_to(ROOT).parts]
    documents, size = [], 0
    rng = random.Random(texts.SEED)
    other = [word for word in texts.WORDS if not word.isascii()]
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        documents += [text[i:i + 4000] for i in range(0, len(text), 4000)]
        documents.append(" ".join(rng.choice(other) for _ in range(60)))
        size += len(text)
        if size > TIMED_BYTES:
            break
    return documents


def vocabularies():
    """(name, path) of everything that can be compared."""
    shared = pathlib.Path(os.environ.get("TESSERA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    more = [str(shared)] if (shared / "tokenizers").is_dir() else []
    subprocess.run([os.environ["TESSERA_PEER_PYTHON"], HERE / "tokenizer" / "vocabularies.py",
                    FOLDER, *more], check=True)
    for path in sorted(FOLDER.glob("*.json")):
        name = path.name.removesuffix(".json").removesuffix(".vocabulary")
        if path.name.endswith(".vocabulary.json"):
            fields = json.loads(path.read_text())
            if fields["model"] == "gpt2" and not fields.get("pre"):
                print(f"    {name}: refused, as the file does not name its pre-tokeniser")
                continue
        if not path.name.endswith(".made.json"):
            yield name, path


def main():
    options = bench_report.arguments(__doc__)
    report = bench_report.Report("tokenizer", options.quick)
    driver = Worker(os.environ["TESSERA_DRIVER"])
    peer = Worker(os.environ["TESSERA_PEER_PYTHON"], HERE / "tokenizer" / "peer.py")
    found = list(vocabularies())
    documents = timed_text()
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    print(f"peer: {peer.name}, one thread; {len(found)} tokenizers; {megabytes:.2f} MB are timed")
    for name, path in found:
        comparison = Comparison(name, driver, peer)
        comparison.load(path)
        comparison.compare(QUICK_STRINGS if options.quick else STRINGS)
        own, theirs = comparison.time(QUICK_ROUNDS if options.quick else ROUNDS, documents)
        ratio = statistics.median(b / a for a, b in zip(own, theirs))
        print(f"    {name}: {comparison.strings} strings, {comparison.different} different; "
              f"{ratio:.1f} times the peer", flush=True)
        report.row(name, [megabytes / x for x in own], "MB/s", **{"x peer": f"{ratio:.2f}"})
        report.row("  the peer", [megabytes / x for x in theirs], "MB/s")
        report.bar(f"{name}-different", comparison.different, 0, at_least=False, digits=0)
        report.bar(f"{name}-vs-peer", ratio, 1.0, at_least=True, digits=2)
    sys.exit(report.finish(options.json))


if __name__ == "__main__":
    main()
