"""jsontext — JSON whose numbers stay as they were written, and its compact text.

1.0 is an integer to JSON Schema and 1e400 is a number; a float would lose both.
"""

import json


class Number(str):
    """A number's own text."""


def loads(text):
    return json.loads(text, parse_int=Number, parse_float=Number)


def dumps(value):
    """Compact, members in their order, characters as themselves."""
    parts = []
    write(value, parts)
    return "".join(parts)


def write(value, parts):
    if isinstance(value, Number):
        parts.append(value)
    elif isinstance(value, dict):
        write_list(parts, "{}", value.items(), write_member)
    elif isinstance(value, list):
        write_list(parts, "[]", value, write)
    else:
        parts.append(scalar(value))


def write_list(parts, brackets, items, write_item):
    parts.append(brackets[0])
    for i, item in enumerate(items):
        if i > 0:
            parts.append(",")
        write_item(item, parts)
    parts.append(brackets[1])


def write_member(item, parts):
    parts.append(scalar(item[0]) + ":")
    write(item[1], parts)


def scalar(value):
    """Of a string, boolean, null or Python number; a lone surrogate has no UTF-8 and is escaped."""
    lone = isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value)
    return json.dumps(value, ensure_ascii=lone)


def plain(value):
    """With Python's own numbers, for a library that computes with them."""
    if isinstance(value, Number):
        return json.loads(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value
