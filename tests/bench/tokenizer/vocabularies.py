"""vocabularies.py — real tokenizers, out of the shared data and of packages that carry them.

    python vocabularies.py FOLDER [SHARED_DATA]

writes into FOLDER what driver.cpp can load: NAME.json (a tokenizer.json) or NAME.vocabulary.json
(the fields of a GGUF file's metadata, see gguf_vocabulary.hpp), and the .inp and .out files that
llama.cpp has beside its GGUF vocabularies. What is there already is not made again.

llama.cpp's vocabularies lie in the source of llama-cpp-python, Mistral's in mistral-common and two
more in litellm; pip downloads them, and nothing of these packages is run or built. Mistral's are
turned into tokenizer.json with transformers' own conversion.
"""

import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile

PACKAGES = ("llama-cpp-python==0.3.36", "mistral-common==1.13.1", "litellm==1.109.1")
KEYS = ("model", "pre", "tokens", "scores", "token_type", "merges", "bos_token_id", "eos_token_id",
        "unknown_token_id", "seperator_token_id", "padding_token_id", "cls_token_id",
        "add_bos_token", "add_eos_token", "add_sep_token", "add_space_prefix",
        "remove_extra_whitespaces", "precompiled_charsmap")
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, LIST = 8, 9


class Metadata:
    """Reads the key-value part of a GGUF file."""

    def __init__(self, data):
        self.data, self.at = data, 4
        assert data[:4] == b"GGUF"
        self.number("I")
        self.number("Q")
        self.values = {}
        for _ in range(self.number("Q")):
            key = self.string()
            self.values[key] = self.value(self.number("I"))

    def number(self, code):
        value = struct.unpack_from("<" + code, self.data, self.at)[0]
        self.at += struct.calcsize(code)
        return value

    def string(self):
        size = self.number("Q")
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == LIST:
            item, count = self.number("I"), self.number("Q")
            return [self.value(item) for _ in range(count)]
        return self.number(FORMATS[kind])


def write_vocabulary(data, path):
    values = Metadata(data).values
    fields = {key: values["tokenizer.ggml." + key] for key in KEYS
              if "tokenizer.ggml." + key in values}
    if "precompiled_charsmap" in fields:
        fields["precompiled_charsmap"] = [x % 256 for x in fields["precompiled_charsmap"]]
    path.write_text(json.dumps(fields))


def from_shared(shared, folder):
    for path in sorted((shared / "tokenizers").iterdir()):
        if path.name.endswith(".tokenizer.json"):
            shutil.copy(path, folder / (path.name.removesuffix(".tokenizer.json") + ".json"))
        elif path.suffix == ".gguf":
            write_vocabulary(path.read_bytes(), folder / (path.stem + ".vocabulary.json"))
        elif path.suffix in (".inp", ".out"):
            shutil.copy(path, folder / path.name)


def download(folder):
    packages = folder / "packages"
    packages.mkdir(exist_ok=True)
    for package in PACKAGES:
        name = package.split("==")[0]
        if not list(packages.glob(name.replace("-", "_") + "-*")):
            only = ["--no-binary", ":all:"] if name.startswith("llama") else []
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                            "--disable-pip-version-check", "--dest", packages, *only, package],
                           check=True)
    return packages


def from_llama_cpp(packages, folder):
    with tarfile.open(next(packages.glob("llama_cpp_python-*.tar.gz"))) as archive:
        for member in archive:
            name = pathlib.Path(member.name).name.removeprefix("ggml-vocab-")
            if "/models/ggml-vocab-" not in member.name:
                continue
            data = archive.extractfile(member).read()
            if name.endswith(".gguf"):
                write_vocabulary(data, folder / (name.removesuffix(".gguf") + ".vocabulary.json"))
            else:
                (folder / name).write_bytes(data)


def from_litellm(packages, folder):
    with zipfile.ZipFile(next(packages.glob("litellm-*.whl"))) as archive:
        for name in ("anthropic", "deepseek"):
            data = archive.read(f"litellm/litellm_core_utils/tokenizers/{name}_tokenizer.json")
            (folder / f"{name}.json").write_bytes(data)


def from_mistral(packages, folder):
    from transformers import LlamaTokenizer
    from transformers.integrations.mistral.tokenizer import MistralConverter
    with zipfile.ZipFile(next(packages.glob("mistral_common-*.whl"))) as archive:
        tekken = packages / "tekken.json"
        tekken.write_bytes(archive.read("mistral_common/data/tekken_240911.json"))
        MistralConverter(str(tekken)).converted().save(str(folder / "tekken.json"))
        for version, name in (("v1", "tokenizer.model.v1"),
                              ("v3", "mistral_instruct_tokenizer_240323.model.v3")):
            model = packages / f"mistral-{version}" / "tokenizer.model"
            model.parent.mkdir(exist_ok=True)
            model.write_bytes(archive.read("mistral_common/data/" + name))
            tokenizer = LlamaTokenizer.from_pretrained(model.parent)
            tokenizer.backend_tokenizer.save(str(folder / f"mistral-{version}.json"))


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "done"
    if done.exists():
        return
    if len(sys.argv) > 2:
        from_shared(pathlib.Path(sys.argv[2]), folder)
    packages = download(folder)
    from_llama_cpp(packages, folder)
    from_litellm(packages, folder)
    from_mistral(packages, folder)
    done.touch()


if __name__ == "__main__":
    main()
