"""Rego in this process, with the settings under which nothing is allowed by mistake.

regopy's traps, met one by one (regopy 1.5.2, measured 2026-11-21):
- Numbers that go in by `set_input` are rounded: input goes in as JSON text.
- A built-in that fails is undefined, and `not deny` then true: errors are strict, and a
  result that is not `ok` counts as an error.
- Text is not unescaped: Rego sees a line end as the two signs of its escape, where the tool
  gets one. So text that JSON has to escape is refused before it is judged.
- Regular expressions are matched by bytes, and by going back (libstdc++): a nested repetition
  never ends, a long text may use up the stack. The shipped policy has neither, and no text of
  more than LONGEST_TEXT signs is judged.
- An unknown function is found only when it is called, and then as broken JSON.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.executor.policy.data import LONGEST_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from regopy import Bundle, Interpreter

ENTRY = "actions/decision"
_REASON = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Quotes, backslashes, what doesn't print in ASCII's first 32, and half characters.
_ESCAPED = re.compile('["\\\\\x00-\x1f\ud800-\udfff]')


class RegoError(Exception):
    """The policy can't be compiled, fails, or doesn't answer in the agreed form."""


@dataclass(frozen=True)
class Decision:
    """What the policy says; `use` is how an allowed tool takes its arguments."""

    allow: bool
    reason: str
    use: str = ""


class Rego:
    """Compiled policies and their data; one evaluation at a time."""

    def __init__(self, modules: Mapping[str, str], data: Mapping[str, Any]) -> None:
        """Compile `modules` (source by file name) over `data`.

        Raises:
            RegoError: a syntax error, a missing entry, or text in the data that Rego
                would not see as it is.
        """
        if any(_ESCAPED.search(text) for text in _texts(data)):
            raise RegoError("data: expected text without quotes, backslashes, line ends, got other")
        compiler = _interpreter()
        try:
            for name, source in sorted(modules.items()):
                compiler.add_module(name, source)
            compiler.add_data_json(json.dumps(data, ensure_ascii=False))
            self._bundle: Bundle = compiler.build(None, [ENTRY])
        except Exception as problem:
            raise RegoError(f"not compiled: {_first_line(problem)}") from problem
        if not self._bundle.ok():
            raise RegoError("not compiled: the bundle is not whole")
        self._interpreter = _interpreter()
        self._lock = threading.Lock()

    def decide(self, question: Mapping[str, Any]) -> Decision:
        """The policy's answer.

        Raises:
            RegoError: anything but exactly an answer in the agreed form.
        """
        if not judged_as_it_is(question):
            return Decision(allow=False, reason="text_not_plain")
        try:
            with self._lock:
                self._interpreter.set_input_term(json.dumps(question, ensure_ascii=False))
                output = self._interpreter.query_bundle_entrypoint(self._bundle, ENTRY)
                if not output.ok():
                    raise RegoError("an error while it was judged")
                expressions = [result.expressions for result in output.results]
        except RegoError:
            raise
        except Exception as problem:
            raise RegoError(f"not judged: {_first_line(problem)}") from problem
        return _decision(expressions)


def judged_as_it_is(question: Mapping[str, Any]) -> bool:
    """Whether Rego sees every text of the question as the tool would."""
    return not any(len(text) > LONGEST_TEXT or _ESCAPED.search(text) for text in _texts(question))


def _decision(expressions: list[Any]) -> Decision:
    if len(expressions) != 1 or len(expressions[0]) != 1 or not isinstance(expressions[0][0], dict):
        raise RegoError("undefined, or more than one answer")
    answer = expressions[0][0]
    allow, reason, use = answer.get("allow"), answer.get("reason"), answer.get("use", "")
    if not isinstance(allow, bool) or not isinstance(use, str) or answer.keys() - _KEYS:
        raise RegoError("an answer of another form")
    if not isinstance(reason, str) or not _REASON.fullmatch(reason):
        raise RegoError("an answer without a reason")
    return Decision(allow, reason, use)


_KEYS = frozenset({"allow", "reason", "use"})


def _interpreter() -> Interpreter:
    try:
        from regopy import Interpreter, LogLevel  # 60 ms, and only the executor needs it
    except (ImportError, OSError) as problem:
        raise RegoError(f"regopy can't be loaded ({problem}): install it, or libatomic1") from (
            problem
        )
    made = Interpreter()
    made.log_level = LogLevel.NONE  # it prints what it is given
    made.strict_built_in_errors = True
    return made


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _first_line(problem: Exception) -> str:
    """Compilers answer with trees: the messages in them are enough."""
    found = re.findall(r"errormsg \d+:([^)\n]+)", str(problem))
    return "; ".join(dict.fromkeys(found))[:200] or type(problem).__name__
