"""packages.py — adapter packages for the tests: safetensors by hand, good ones and broken ones.

`MALFORMED` makes every package that must be refused out of a good one, with the code that names its
fault. Nothing is caught here by accident: each differs from the good package in that fault only.
"""

import json
import struct

TARGETS = ["q_proj", "v_proj"]
RANK = 4
SHAPES = {"q_proj": (256, 256), "v_proj": (128, 256)}  # of the demo's base: (out, in)
LAYERS = 4
FIRST_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
FIRST_B = FIRST_A.replace("lora_A", "lora_B")
DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I32": 4}


def config(**changes):
    """adapter_config.json; a change to None removes the field."""
    fields = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 8,
              "target_modules": TARGETS, "base_model_name_or_path": "tessera-demo"} | changes
    return json.dumps({k: v for k, v in fields.items() if v is not None}).encode()


def values(count, seed=1):
    """`count` small fp32 numbers, a function of the seed, as bytes."""
    numbers, state = [], seed
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        numbers.append((state / 2**31 - 0.5) * 0.02)
    return struct.pack(f"<{count}f", *numbers)


def tensors(seed=1):
    """The tensors of a good package: {name: (dtype, shape, bytes)}."""
    made = {}
    for layer in range(LAYERS):
        for target in TARGETS:
            out_features, in_features = SHAPES[target]
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            for name, shape in ((f"{prefix}.lora_A.weight", (RANK, in_features)),
                                (f"{prefix}.lora_B.weight", (out_features, RANK))):
                made[name] = ("F32", shape, values(shape[0] * shape[1], seed + len(made)))
    return made


def header_of(contents):
    header, offset = {}, 0
    for name, (dtype, shape, data) in contents.items():
        header[name] = {"dtype": dtype, "shape": list(shape),
                        "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    return header


def container(header, data, header_bytes=None):
    """A safetensors file; `header` is a dict or the JSON itself."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if header_bytes is None else header_bytes) + text + data


def file_of(contents):
    return container(header_of(contents), b"".join(data for _, _, data in contents.values()))


def package(seed=1):
    """A good one: (config, tensors)."""
    return config(), file_of(tensors(seed))


# --- the broken ones ---------------------------------------------------------------------------

def with_header(change):
    """The good file after `change(header)`, its data untouched."""
    contents = tensors()
    header = header_of(contents)
    changed = change(header)
    return container(header if changed is None else changed,
                     b"".join(data for _, _, data in contents.values()))


def with_tensors(change):
    """The good file made of `change(tensors)`."""
    contents = tensors()
    change(contents)
    return file_of(contents)


def replaced(name, dtype=None, shape=None, data=None):
    def change(contents):
        old = contents[name]
        changed = old[2] if data is None else data(old[2])
        contents[name] = (dtype or old[0], shape or old[1], changed)
    return with_tensors(change)


def added(name, dtype, shape):
    def change(contents):
        count = 1
        for size in shape:
            count *= size
        contents[name] = (dtype, shape, bytes(count * DTYPE_BYTES[dtype]))
    return with_tensors(change)


def field(name, key, value):
    def change(header):
        header[name][key] = value
    return with_header(change)


def with_first_value(number):
    return lambda data: struct.pack("<f", number) + data[4:]


def without(name):
    return with_tensors(lambda contents: contents.pop(name))


def duplicate_tensor():
    def change(header):
        text = json.dumps(header)
        entry = f'"{FIRST_A}": {json.dumps(header[FIRST_A])}'
        return text.replace(entry, f"{entry}, {entry}").encode()
    return with_header(change)


def gap_before_data():
    def change(header):
        for entry in header.values():
            entry["data_offsets"] = [offset + 8 for offset in entry["data_offsets"]]
    return with_header(change) + bytes(8)


def overlapping():
    """The second tensor is said to lie where the first one does."""
    def change(header):
        header[FIRST_B]["data_offsets"] = header[FIRST_A]["data_offsets"]
    return with_header(change)


GOOD_FILE = file_of(tensors())
PICKLE = b"\x80\x02}q\x00(X\x06\x00\x00\x00weightq\x01K\x01u."
DEEP = b"[" * 60_000


def malformed():
    """[(what, config, tensors, code of the finding), ...]; no code occurs twice."""
    bad_files = [
        ("a file of five bytes", b"\x01\x02\x03\x04\x05", "safetensors_truncated"),
        ("a header said to be of 2^63 bytes", container(b"{}", b"", 2**63),
         "safetensors_header_too_large"),
        ("a header that is no JSON", container(DEEP, b""), "safetensors_header_invalid"),
        ("a tensor named twice", duplicate_tensor(), "safetensors_duplicate_key"),
        ("an unknown key of a tensor", field(FIRST_A, "stride", [1]), "safetensors_unknown_key"),
        ("metadata that is not text",
         with_header(lambda h: h.update(__metadata__={"format": 1})), "safetensors_bad_metadata"),
        ("a dtype that is none", field(FIRST_A, "dtype", "F128"), "safetensors_bad_dtype"),
        ("a negative shape", field(FIRST_A, "shape", [-4, -256]), "safetensors_bad_shape"),
        ("an end before its begin", field(FIRST_A, "data_offsets", [4096, 0]),
         "safetensors_bad_offsets"),
        ("a shape of 2^80 elements", field(FIRST_A, "shape", [2**40, 2**40]),
         "safetensors_overflow"),
        ("a shape that is not as long as its bytes", field(FIRST_A, "shape", [RANK, 255]),
         "safetensors_size_mismatch"),
        ("two tensors over each other", overlapping(), "safetensors_overlap"),
        ("a hole before the first tensor", gap_before_data(), "safetensors_hole"),
        ("bytes after the last tensor", GOOD_FILE + b"more", "safetensors_trailing_data"),
        ("a pickle", PICKLE, "pickle_not_accepted"),
        ("A of another width", replaced(FIRST_A, shape=(RANK, 128), data=lambda d: d[:RANK * 512]),
         "tensor_shape_mismatch"),
        ("A and B of another rank than the config's",
         with_tensors(lambda c: (c.update({FIRST_A: ("F32", (2, 256), values(512))}),
                                 c.update({FIRST_B: ("F32", (256, 2), values(512))}))),
         "rank_mismatch"),
        ("an A without its B", without(FIRST_B), "missing_lora_b"),
        ("a B without its A", without(FIRST_A), "missing_lora_a"),
        ("a layer that the base has not",
         added(FIRST_A.replace("layers.0", "layers.9"), "F32", (RANK, 256)), "unbound_tensor"),
        ("a pair that no target names",
         with_tensors(lambda c: [c.update({n.replace("q_proj", "o_proj"): c[n]})
                                 for n in (FIRST_A, FIRST_B)]), "module_not_targeted"),
        ("an embedding's half on a linear",
         added(FIRST_A.replace("lora_A.weight", "lora_embedding_A"), "F32", (RANK, 256)),
         "unsupported_tensor"),
        ("a NaN", replaced(FIRST_A, data=with_first_value(float("nan"))), "non_finite_value"),
        ("a value of a million", replaced(FIRST_A, data=with_first_value(1e6)), "value_too_large"),
        ("integers", replaced(FIRST_A, dtype="I32"), "unsupported_tensor_dtype"),
        ("no tensors at all", file_of({}), "no_tensors"),
    ]
    bad_configs = [
        ("a config that is no JSON", b"{'r': 4}", "config_invalid_json"),
        ("a config with a field twice", config().replace(b'"r": 4', b'"r": 4, "r": 8'),
         "config_duplicate_key"),
        ("an unknown config field", config(lora_gamma=2), "unknown_config_field"),
        ("no rank", config(r=None), "missing_config_field"),
        ("a rank of zero", config(r=0), "invalid_config_value"),
        ("a rank of a thousand", config(r=1000), "rank_too_large"),
        ("another method than LoRA", config(peft_type="LOHA"), "unsupported_peft_type"),
        ("another task", config(task_type="SEQ_CLS"), "unsupported_task_type"),
        ("another base", config(base_model_name_or_path="other/model"), "base_model_mismatch"),
        ("DoRA without magnitudes", config(use_dora=True), "missing_magnitude"),
        ("biases that are not there", config(lora_bias=True), "missing_lora_bias"),
        ("PiSSA", config(init_lora_weights="pissa"), "unsupported_init_lora_weights"),
        ("whole modules", config(modules_to_save=["norm"]), "unsupported_modules_to_save"),
        ("a rank pattern for nothing", config(rank_pattern={"nothing": 2}),
         "pattern_matches_nothing"),
        ("a regex with a look-ahead", config(target_modules="(?=q)q_proj"), "unsupported_regex"),
        ("a target without tensors", config(target_modules=TARGETS + ["up_proj"]),
         "target_without_tensors"),
        ("a config of a megabyte", config(revision="x" * 2**20), "config_too_large"),
    ]
    return ([(what, config(), tensors, code) for what, tensors, code in bad_files]
            + [(what, config, GOOD_FILE, code) for what, config, code in bad_configs])
