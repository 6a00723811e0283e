"""peer — llguidance or xgrammar, answering `replay` requests as guided_driver does.

  peer.py llguidance|xgrammar TOKENIZER.json

One thread, its own CPU clock, each engine with its tables for this vocabulary made beforehand and
its caches on. Whitespace is compact, as the instances are; otherwise the defaults of each.
"""

import importlib.metadata
import json
import sys
import time

import numpy
import tokenizers

END = "<|end_of_text|>"
clock = time.thread_time_ns


class Llguidance:
    """Slices are those it has for JSON; `with_slices` is its own advice for schemas."""

    def __init__(self, path):
        import llguidance
        self.library = llguidance
        tokenizer = tokenizers.Tokenizer.from_file(path)
        self.end = tokenizer.token_to_id(END)
        self.tokenizer = llguidance.LLTokenizer(tokenizer.to_str(), eos_token=self.end)
        self.tokenizer = self.tokenizer.with_slices(llguidance.LLTokenizer.json_slices())
        self.mask = numpy.zeros((self.tokenizer.vocab_size + 31) // 32, dtype=numpy.int32)
        self.where, self.bytes = self.mask.ctypes.data, self.mask.nbytes
        self.name = f"llguidance {importlib.metadata.version('llguidance')}"

    def compile(self, schema):
        """(what instances start from, what is wrong)."""
        matcher = self.library.LLMatcher
        grammar = matcher.grammar_from_json_schema(schema,
                                                   overrides={"whitespace_flexible": False})
        compiled = matcher(self.tokenizer, grammar, log_level=0)
        return (None, compiled.get_error()) if compiled.is_error() else (compiled, None)

    def start(self, compiled):
        return compiled.deep_copy()

    def fill(self, matcher):
        matcher.unsafe_compute_mask_ptr(self.where, self.bytes)

    def accept(self, matcher, token):
        return matcher.consume_token(token)

    def failed(self, matcher):
        """It has met a limit of its own: a refused token is told apart by the mask."""
        return matcher.is_error()

    def ended(self, matcher):
        return matcher.is_accepting()

    def idle(self, matcher):
        """A call that does next to nothing."""
        return matcher.is_stopped()


class Xgrammar:
    def __init__(self, path):
        import transformers
        import xgrammar
        self.library = xgrammar
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=path, eos_token=END)
        info = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, stop_token_ids=[tokenizer.eos_token_id])
        self.end = tokenizer.eos_token_id
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_limit_bytes=2 << 30)
        self.mask = numpy.zeros(((info.vocab_size + 31) // 32,), dtype=numpy.int32)
        self.rows = self.mask.reshape(1, -1)
        self.name = f"xgrammar {importlib.metadata.version('xgrammar')}"

    def compile(self, schema):
        try:
            return self.compiler.compile_json_schema(schema, any_whitespace=False,
                                                     separators=(",", ":")), None
        except Exception as error:  # of many types
            return None, str(error)

    def start(self, compiled):
        return self.library.GrammarMatcher(compiled)

    def fill(self, matcher):
        matcher.fill_next_token_bitmask(self.rows)

    def accept(self, matcher, token):
        return matcher.accept_token(token)

    def failed(self, matcher):
        return False

    def ended(self, matcher):
        matcher.fill_next_token_bitmask(self.rows)
        return bool(self.mask[self.end >> 5] >> (self.end & 31) & 1)

    def idle(self, matcher):
        return matcher.is_terminated()


def follow(engine, compiled, ids, ns):
    matcher = engine.start(compiled)
    mask, accepted, failed = engine.mask, 0, False
    for token in ids:
        begin = clock()
        engine.fill(matcher)
        spent = clock() - begin
        allowed = bool(mask[token >> 5] >> (token & 31) & 1)
        if not allowed:
            failed = engine.failed(matcher)
            ns.append(spent)
            break
        begin = clock()
        allowed = engine.accept(matcher, token)
        ns.append(spent + clock() - begin)
        if not allowed:
            break
        accepted += 1
    whole = accepted == len(ids)
    return dict(tokens=accepted, whole=whole, end=whole and engine.ended(matcher), failed=failed)


def replay(engine, schema, ids, warm):
    begin = clock()
    compiled, error = engine.compile(schema)
    answer = dict(compile_ns=[clock() - begin], cold_ns=[], warm_ns=[])
    if compiled is None:
        return dict(answer, refused="unsupported", findings=[dict(reason=str(error)[:500])])
    answer["instances"] = [follow(engine, compiled, one, answer["cold_ns"]) for one in ids]
    if warm:
        for one in ids:
            follow(engine, compiled, one, answer["warm_ns"])
    return answer


def overhead(engine, count):
    """What a token is charged when nothing is done: two calls and four readings of the clock."""
    matcher = engine.start(engine.compile('{"type":"boolean"}')[0])
    ns = []
    for _ in range(count):
        begin = clock()
        engine.idle(matcher)
        spent = clock() - begin
        begin = clock()
        engine.idle(matcher)
        ns.append(spent + clock() - begin)
    return dict(ns=ns)


def main():
    engine = dict(llguidance=Llguidance, xgrammar=Xgrammar)[sys.argv[1]](sys.argv[2])
    print(json.dumps(dict(name=engine.name)), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "clock" in request:
            answer = overhead(engine, request["clock"])
        else:
            answer = replay(engine, request["replay"]["schema"], request["ids"],
                            request.get("warm", False))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
