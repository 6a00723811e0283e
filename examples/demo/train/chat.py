# chat.py — how a conversation becomes token ids, in training as in serving.
#
# The chat template is the one in tokenizer_config.json; training renders with it too, so that the
# model never sees a form that a server would not send.

import pathlib

import jinja2

DEMO = pathlib.Path(__file__).resolve().parent.parent
BASE = DEMO / "base"
ADAPTERS = DEMO / "adapters"
HELD_OUT = DEMO / "heldout"

BOS, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
SPECIAL_TOKENS = [PAD, BOS, END, "<|system|>", "<|user|>", "<|assistant|>"]

TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] in ['system', 'user', 'assistant'] %}
        {{- '<|' + message['role'] + '|>\\n' + message['content'] | trim + '<|end|>\\n' }}
    {%- else %}
        {{- raise_exception('unknown role: ' + message['role']) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>\\n' }}
{%- endif %}
"""

_template = jinja2.Environment().from_string(TEMPLATE)


def render(messages, add_generation_prompt=False):
    """[(role, content), ...] as text. The last turn's newline is kept, as the template writes it."""
    return _template.render(messages=[{"role": r, "content": c} for r, c in messages],
                            bos_token=BOS, add_generation_prompt=add_generation_prompt)


def as_text(example):
    """A training text: a conversation through the template, running text between BOS and END."""
    return BOS + example + END if isinstance(example, str) else render(example)


def answer_mask(ids, tokenizer):
    """1 for each token that the model is to produce: an assistant's turn with its END."""
    assistant, end = (tokenizer.token_to_id(t) for t in ("<|assistant|>", END))
    mask, inside = [0] * len(ids), False
    if not any(tokenizer.token_to_id(t) in ids for t in ("<|user|>", "<|system|>")):
        return [0] + [1] * (len(ids) - 1)
    for i, token in enumerate(ids):
        mask[i] = int(inside)
        if token == end:
            inside = False
        if i > 0 and ids[i - 1] == assistant:
            inside = True  # ids[i] is the newline after the header; the answer follows
    return mask
