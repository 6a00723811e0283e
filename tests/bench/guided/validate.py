"""validate — documents against their schemas, by jsonschema with its format checks.

One JSON object a line: {"schema": TEXT, "documents": [TEXT, ...], "draft"} gives {"invalid":
[[text, why], ...]}. A text is bytes, each as a character of U+0000 to U+00FF. What the library
does not do as the specification says is done here: numbers are exact decimals, `pattern` is
ECMA-262's dialect (as far as it can be translated; "unchecked" counts patterns that cannot), a
name must not occur twice.
"""

import decimal
import importlib.metadata
import json
import sys

import jsonschema
import regex

DRAFTS = {"draft2020-12": jsonschema.Draft202012Validator,
          "draft2019-09": jsonschema.Draft201909Validator, "draft7": jsonschema.Draft7Validator,
          "draft6": jsonschema.Draft6Validator, "draft4": jsonschema.Draft4Validator}
SPACE = r"\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": SPACE}

decimal.getcontext().prec = 400


class Duplicate(ValueError):
    pass


def members(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Duplicate("a name occurs twice")
    return found


def loads(text):
    return json.loads(text, parse_float=decimal.Decimal, object_pairs_hook=members)


def is_integer(_checker, value):
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (
        isinstance(value, decimal.Decimal) and value == value.to_integral_value())


def translate(pattern):
    """ECMA-262 to the `regex` module's dialect."""
    out, i, within = [], 0, False
    while i < len(pattern):
        c = pattern[i]
        if c == "\\" and i + 1 < len(pattern):
            out.append(escape(pattern[i + 1], within))
            i += 2
            continue
        if within:
            within = c != "]"
            out.append("\\[" if c == "[" else c)
        elif c == "[":
            within = True
            negated = pattern[i + 1:i + 2] == "^"
            if pattern[i + 1 + negated:i + 2 + negated] == "]":  # [] is nothing, [^] anything
                out.append(r"[\s\S]" if negated else "(?!)")
                i, within = i + 1 + negated, False
            else:
                out.append("[^" if negated else "[")
                i += negated
        elif c == ".":
            out.append(r"[^\n\r\u2028\u2029]")
        else:
            out.append(r"\Z" if c == "$" else c)
        i += 1
    return "".join(out)


def escape(c, within):
    if c in CLASSES:
        return CLASSES[c] if within else f"[{CLASSES[c]}]"
    if c.lower() in CLASSES and not within:
        return f"[^{CLASSES[c.lower()]}]"
    if c == "/" or (c == "-" and not within):
        return regex.escape(c)
    return "\\" + c


class Patterns:
    def __init__(self):
        self.compiled, self.unchecked = {}, 0

    def search(self, pattern, text):
        if pattern not in self.compiled:
            try:
                self.compiled[pattern] = regex.compile(translate(pattern),
                                                       regex.ASCII | regex.V0)
            except regex.error:
                self.compiled[pattern] = None
        if self.compiled[pattern] is None:
            self.unchecked += 1
            return True
        try:
            return self.compiled[pattern].search(text, timeout=2) is not None
        except TimeoutError:
            self.unchecked += 1
            return True


PATTERNS = Patterns()


def check_pattern(_validator, pattern, instance, _schema):
    if isinstance(instance, str) and not PATTERNS.search(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def check_pattern_properties(validator, patterns, instance, _schema):
    if isinstance(instance, dict):
        for pattern, part in patterns.items():
            for name, member in instance.items():
                if PATTERNS.search(pattern, name):
                    yield from validator.descend(member, part, path=name, schema_path=pattern)


def check_additional(validator, additional, instance, schema):
    if not isinstance(instance, dict):
        return
    for name, member in instance.items():
        if name in schema.get("properties", {}):
            continue
        if any(PATTERNS.search(one, name) for one in schema.get("patternProperties", {})):
            continue
        yield from validator.descend(member, additional, path=name)


def extended(validator):
    return jsonschema.validators.extend(
        validator, type_checker=validator.TYPE_CHECKER.redefine("integer", is_integer),
        validators=dict(pattern=check_pattern, patternProperties=check_pattern_properties,
                        additionalProperties=check_additional))


EXTENDED = {validator: extended(validator) for validator in DRAFTS.values()}


def validator_of(schema, draft):
    found = DRAFTS[draft]
    if isinstance(schema, dict) and isinstance(schema.get("$schema"), str):
        found = jsonschema.validators.validator_for(schema, default=found)
    if found not in EXTENDED:
        found = DRAFTS[draft]
    # Formats are asserted alike in every draft.
    return EXTENDED[found](schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def why_invalid(validator, text):
    """None if the document is valid."""
    try:
        document = loads(text.encode("latin-1").decode("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        return f"no JSON: {error}"
    error = next(validator.iter_errors(document), None)
    return None if error is None else f"{error.message[:300]} at {list(error.schema_path)}"


def check(request):
    schema = json.loads(request["schema"], parse_float=decimal.Decimal)
    validator = validator_of(schema, request.get("draft", "draft2020-12"))
    invalid, before = [], PATTERNS.unchecked
    for text in request["documents"]:
        try:
            why = why_invalid(validator, text)
        except Exception as error:  # the schema is beyond the library
            return dict(invalid=invalid, unjudged=f"{type(error).__name__}: {error}"[:300])
        if why is not None:
            invalid.append([text, why])
    return dict(invalid=invalid, unchecked=PATTERNS.unchecked - before)


def main():
    sys.setrecursionlimit(5000)
    name = "jsonschema " + importlib.metadata.version("jsonschema")
    print(json.dumps(dict(name=name)), flush=True)
    for line in sys.stdin:
        print(json.dumps(check(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
