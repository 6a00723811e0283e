"""scripted_model.py — a model that says what a test wants it to say.

A real Llama of one layer that contributes nothing: what comes out is the last token's embedding,
and the head gives each token's row to the one that follows it in a script. So the last token of the
prompt decides the whole answer, greedy or not. The template ends a prompt with "<|go:…|>", a
special token named after the last message's content: that chooses the script.

    model = scripted_model.packed("hermes", HERMES, {"weather": ["<tool_call>…"]})
"""

import json
import random
import subprocess

import harness
import packages

HIDDEN = 128
BYTES = 256
SPECIALS = ["<s>", "</s>"]

# A conversation, whatever is in it, then the token that chooses the script.
MESSAGES = ("{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}"
            "{{ '\\n' + m.role + ': ' + (m.content or '') }}%CALLS%{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|go:' + messages[-1].content + '|>%OPEN%' }}"
            "{% endif %}")


def template(calls="", start=""):
    """`calls` shows a message's calls, `start` begins the answer."""
    return MESSAGES.replace("%CALLS%", calls).replace("%OPEN%", start)


HERMES = template("{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}"
                  "</tool_call>{% endfor %}")
LLAMA3 = template("{% for c in m.tool_calls or [] %}<|python_tag|>"
                  "{\"name\": \"{{ c.function.name }}\", "
                  "\"parameters\": {{ c.function.arguments | tojson }}}{% endfor %}")
MISTRAL = template("{% if m.tool_calls %}[TOOL_CALLS] {{ m.tool_calls | tojson }}{% endif %}")
THINKING = HERMES + "{# <think> #}"
OPENED_THINKING = template(start="<think>")
PLAIN = MESSAGES.replace("{% if tools %}{{ tools | tojson }}{% endif %}", "").replace(
    "%CALLS%", "").replace("%OPEN%", "")


def byte_alphabet():
    """The characters that stand for bytes in a byte-level vocabulary."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {
        byte: chr(256 + place) for place, byte in enumerate(hidden)}


def pieces_of(answer, used, chance):
    """An answer as tokens' bytes: runs of 2 to 7, even inside of characters, none used before."""
    data, pieces = answer.encode(), []
    while data:
        size = chance.randint(2, 7)
        while data[:size] in used and size < len(data):
            size += 1
        piece, data = data[:size], data[size:]
        if piece in used:  # the end of another answer too: one token with what is before it
            piece = pieces.pop() + piece
        if piece in used:
            raise ValueError(f"the end of {answer!r} is that of another answer")
        used.add(piece)
        pieces.append(piece)
    return pieces


class Vocabulary:
    def __init__(self):
        alphabet = byte_alphabet()
        self.alphabet = alphabet
        self.ids = {alphabet[byte]: byte for byte in range(BYTES)}
        self.special = {}
        for text in SPECIALS:
            self.add_special(text)

    def add(self, data):
        text = "".join(self.alphabet[byte] for byte in data)
        return self.ids.setdefault(text, len(self.ids) + len(self.special))

    def add_special(self, text):
        return self.special.setdefault(text, len(self.ids) + len(self.special))

    def tokenizer(self):
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                 "use_regex": True}
        return {"version": "1.0", "truncation": None, "padding": None,
                "added_tokens": [{"id": i, "content": text, "single_word": False, "lstrip": False,
                                  "rstrip": False, "normalized": False, "special": True}
                                 for text, i in self.special.items()],
                "normalizer": None, "pre_tokenizer": level, "post_processor": None,
                "decoder": level,
                "model": {"type": "BPE", "dropout": None, "unk_token": None,
                          "continuing_subword_prefix": None, "end_of_word_suffix": None,
                          "fuse_unk": False, "byte_fallback": False, "vocab": self.ids,
                          "merges": []}}


def chain(scripts, vocabulary):
    """[(token, the one after it)]. A script is a list of texts; ("special", text) is one token. A
    script named "=…" follows that special token instead of "<|go:…|>"."""
    chance, used, pairs = random.Random(1), set(), []
    for name, script in scripts.items():
        last = vocabulary.add_special(name[1:] if name.startswith("=") else f"<|go:{name}|>")
        for part in script:
            tokens = ([vocabulary.add_special(part[1])] if isinstance(part, tuple) else
                      [vocabulary.add(piece) for piece in pieces_of(part, used, chance)])
            for token in tokens:
                pairs.append((last, token))
                last = token
        pairs.append((last, vocabulary.special["</s>"]))
    if len({first for first, _ in pairs}) != len(pairs):
        raise ValueError("a token is in two places")
    return pairs


def bf16(number):
    return packages.struct.pack("<f", number)[2:]


def weights(size, pairs):
    chance = random.Random(2)
    embedding = [[chance.choice((-1, 1)) for _ in range(HIDDEN)] for _ in range(size)]
    head = [[0] * HIDDEN for _ in range(size)]
    for first, second in pairs:
        head[second] = [a + b for a, b in zip(head[second], embedding[first])]

    def matrix(rows):
        return b"".join(bf16(number) for row in rows for number in row)

    def tensor(rows, columns=None, value=0.0):
        shape = (rows,) if columns is None else (rows, columns)
        return ("BF16", shape, bf16(value) * (rows * (columns or 1)))

    layer = "model.layers.0."
    return {"model.embed_tokens.weight": ("BF16", (size, HIDDEN), matrix(embedding)),
            "lm_head.weight": ("BF16", (size, HIDDEN), matrix(head)),
            "model.norm.weight": tensor(HIDDEN, value=1.0),
            layer + "input_layernorm.weight": tensor(HIDDEN, value=1.0),
            layer + "post_attention_layernorm.weight": tensor(HIDDEN, value=1.0),
            **{layer + f"self_attn.{name}.weight": tensor(HIDDEN, HIDDEN)
               for name in ("q_proj", "k_proj", "v_proj", "o_proj")},
            **{layer + f"mlp.{name}.weight": tensor(HIDDEN, HIDDEN)
               for name in ("gate_proj", "up_proj", "down_proj")}}


def packed(name, chat_template, scripts):
    """The model, served as `name`, as `tessera quantize` packs it."""
    source = harness.scratch() / f"{name}-source"
    source.mkdir()
    vocabulary = Vocabulary()
    pairs = chain(scripts, vocabulary)
    size = len(vocabulary.ids) + len(vocabulary.special)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
              "intermediate_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2,
              "num_key_value_heads": 2, "vocab_size": size, "max_position_embeddings": 4096,
              "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
              "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
              "bos_token_id": vocabulary.special["<s>"],
              "eos_token_id": vocabulary.special["</s>"], "torch_dtype": "bfloat16"}
    files = {"config.json": config, "tokenizer.json": vocabulary.tokenizer(),
             "tokenizer_config.json": {"bos_token": "<s>", "eos_token": "</s>",
                                       "chat_template": chat_template}}
    for file, value in files.items():
        (source / file).write_text(json.dumps(value))
    (source / "model.safetensors").write_bytes(packages.file_of(weights(size, pairs)))
    destination = harness.scratch() / f"{name}.packed"
    made = subprocess.run([harness.BINARY, "quantize", source, destination, "--name", name],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if made.returncode != 0:
        raise RuntimeError(f"it could not be quantised:\n{made.stderr}")
    return destination
