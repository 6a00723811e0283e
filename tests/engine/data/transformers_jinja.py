# transformers_jinja.py — chat templates rendered by transformers itself: the test oracle.
#
# Needs transformers 5 (5.23.0 made the goldens) and jinja2 >= 3.1.6. The clock stands still, so
# that goldens do too.

import datetime
import functools

import jinja2
from transformers.utils import chat_template_utils

NOW = datetime.datetime(2024, 7, 26, 9, 5, 7)


class StoppedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = StoppedClock
compiled = functools.lru_cache(chat_template_utils._compile_jinja_template)
chat_template_utils._compile_jinja_template = compiled


def guarded(rendering):
    """("text", text), ("raised", message) or ("error", "")."""
    try:
        return "text", rendering()
    except Exception as error:  # whatever Python raises: a wrong type, an undefined value used
        # raise_exception raises this very class; Jinja's own faults are of classes below it.
        raised = type(error) is jinja2.exceptions.TemplateError
        return ("raised", str(error)) if raised else ("error", "")


def render(source, variables):
    """A program, with nothing done to its variables."""
    return guarded(lambda: compiled(source).render(**variables))


def render_chat(source, conversation):
    """A conversation as apply_chat_template renders it: `conversation` is its arguments."""
    arguments = {name: value for name, value in conversation.items() if name != "messages"}
    return guarded(lambda: chat_template_utils.render_jinja_template(
        [conversation["messages"]], chat_template=source, **arguments)[0][0])
