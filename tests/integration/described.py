"""described.py — whether an answer is one that the OpenAPI document describes.

The harness asks here for every answer that it reads, so that a member, a status or a media type
which the document lacks fails the test that met it. Needs `jsonschema` (PyPI); without it nothing is
checked, and openapi_test.py says so.
"""

import functools
import json
import threading

try:
    import jsonschema
except ImportError:
    jsonschema = None


class Undescribed(AssertionError):
    """An answer that the OpenAPI document does not describe."""


def segments(path):
    """Those of a path without its query; a tenant's place before it is left out."""
    parts = path.split("?")[0].split("/")[1:]
    return parts[2:] if len(parts) > 2 and parts[0] == "t" else parts


class Document:
    """Thread-safe."""

    def __init__(self, document):
        self.document = document
        self.templates = {tuple(segments(path)): operations
                          for path, operations in document["paths"].items()}
        self.lock = threading.Lock()
        self.checked = 0  # answers and events so far

    def operation(self, method, path):
        """That of a request, or None if there is none. As in the server, words come before {…}."""
        found = segments(path)
        method = "get" if method == "HEAD" else method.lower()
        for template, operations in self.templates.items():
            if len(template) == len(found) and method in operations and all(
                    t == f or t.startswith("{") for t, f in zip(template, found)):
                return operations[method]
        return None

    def check(self, method, path, answer):
        if jsonschema is None or method == "HEAD":
            return
        place = f"{method} {path}: {answer.status}"
        operation = self.operation(method, path)
        if operation is None:  # no such route: that is all that can be said of it
            self._check_json(place, {"$ref": "#/components/schemas/Error"}, answer.body)
            return
        responses = operation["responses"]
        response = responses.get(str(answer.status),
                                 responses.get(f"{answer.status // 100}XX"))
        if response is None:
            raise Undescribed(f"{place} is no status of the document: {answer.body[:500]!r}")
        media = answer.headers.get("content-type", "").split(";")[0].strip()
        if media not in response["content"]:
            raise Undescribed(f"{place}: {media!r} is no media type of the document")
        schema = response["content"][media]["schema"]
        if media in ("application/json", "application/problem+json"):
            self._check_json(place, schema, answer.body)
        with self.lock:
            self.checked += 1

    def check_event(self, method, path, event):
        """One event of a stream."""
        if jsonschema is None:
            return
        content = self.operation(method, path)["responses"]["200"]["content"]
        self._check(f"{method} {path}: event", content["text/event-stream"]["x-tessera-event"],
                    event)
        with self.lock:
            self.checked += 1

    def _check_json(self, place, schema, body):
        try:
            value = json.loads(body)
        except ValueError as error:
            raise Undescribed(f"{place}: no JSON: {body[:500]!r}") from error
        self._check(place, schema, value)

    def _check(self, place, schema, value):
        error = jsonschema.exceptions.best_match(
            self._validator(json.dumps(schema)).iter_errors(value))
        if error is not None:
            where = "/".join(str(part) for part in error.absolute_path)
            raise Undescribed(f"{place}: at '{where}': {error.message[:1000]}; the document is made "
                              "in gateway/openapi")

    @functools.lru_cache(maxsize=None)
    def _validator(self, schema):
        return jsonschema.Draft202012Validator(
            json.loads(schema) | {"components": self.document["components"]})
