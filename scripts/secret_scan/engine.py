"""Which rules match where: a prefilter names candidates, RE2 confirms each of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from common.cli import ConfigurationError
from secret_scan.decoding import ENCODED
from secret_scan.keywords import Keywords
from secret_scan.patterns import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from secret_scan.keywords import Places
    from secret_scan.patterns import Spans
    from secret_scan.rules import Rule, RuleSet

ENGINES = ("auto", "re2", "hyperscan")
# A rule with the tag `near` has its keyword inside of its match, one with the tag `leads` at the
# beginning, and no match is longer than this: it is looked for there only, which finds the same
# (a test asserts it).
NEAR_BYTES = 1200
# So many rules without keywords are tried at once; more would make too large an automaton.
_MOST_AT_ONCE = 4


@dataclass(frozen=True)
class Look:
    """What a first look at a text says.

    Args:
        candidates: rules that may match, in order, each with the places of its keywords.
        may_hide_text: whether base64 or hex of a text can stand in it.
    """

    candidates: Sequence[tuple[int, Places]]
    may_hide_text: bool


class Prefilter(Protocol):
    """A first look; a candidate too many costs time, one too few a secret."""

    def look(self, text: bytes) -> Look:
        """See the class."""


@dataclass(frozen=True)
class Match:
    """One match: the rule, and where the secret stands in the text."""

    rule: Rule
    order: int
    start: int
    end: int
    secret_start: int
    secret_end: int


class KeywordPrefilter:
    """The look that needs RE2 alone: keywords, and all that has none in one more pass.

    Args:
        rules: those to look for, each with its order.
    """

    def __init__(self, rules: Iterable[tuple[int, Rule]]) -> None:
        """See the class."""
        listed = list(rules)
        self._keywords = Keywords(listed)
        # Those of some paths are refused by the path sooner than by their expression.
        always = [(at, rule) for at, rule in listed if not rule.keywords and rule.pattern]
        self._of_paths = dict.fromkeys(at for at, rule in always if rule.path is not None)
        others = {at: rule.pattern.source for at, rule in always if rule.pattern and not rule.path}
        self._others = dict.fromkeys(others)
        self._any_other = _at_once([*others.values(), ENCODED.source])

    def look(self, text: bytes) -> Look:
        """See `Prefilter`."""
        may_be_others = self._any_other is None or self._any_other.search(text)
        found: dict[int, Places] = self._keywords.hits(text) | self._of_paths
        if may_be_others:
            found |= self._others
        return Look(sorted(found.items()), may_be_others)


def _at_once(sources: list[str]) -> Pattern | None:
    pattern = Pattern("|".join(f"(?:{source})" for source in sources))
    try:
        return pattern if len(sources) <= _MOST_AT_ONCE and pattern.groups >= 0 else None
    except ValueError:  # two groups of one name: each expression is tried for itself
        return None


class Engine:
    """All rules, ready to use.

    Args:
        rules: what is looked for.
        name: re2 or hyperscan.
        prefilter: makes the first look for some rules.
    """

    def __init__(
        self,
        rules: RuleSet,
        name: str = "re2",
        prefilter: Callable[[list[tuple[int, Rule]]], Prefilter] = KeywordPrefilter,
    ) -> None:
        """See the class."""
        self.rules, self.name, self._prefilter = rules, name, prefilter

    def look(self, text: bytes, *, is_binary: bool = False) -> Look:
        """What may stand in a text; generic rules are not tried on binary data."""
        return (self._of_binary if is_binary else self._of_text).look(text)

    def prepare(self) -> None:
        """Make ready what is made once, before other processes copy it."""
        self.look(b"", is_binary=True)
        self.look(b"")

    def matches(
        self, text: bytes, wanted: Callable[[Rule], bool], look: Look | None = None
    ) -> Iterator[Match]:
        """What the wanted rules find, rule by rule.

        Args:
            text: to look through.
            wanted: asked for candidates only.
            look: what the first look said, where there was one.
        """
        for order, places in (look or self.look(text)).candidates:
            rule = self.rules.rules[order]
            if wanted(rule):
                for spans in _spans(rule, text, places):
                    yield Match(rule, order, *spans[0], *_secret_span(rule, spans))

    @functools.cached_property
    def _of_text(self) -> Prefilter:
        return self._prefilter(list(enumerate(self.rules.rules)))

    @functools.cached_property
    def _of_binary(self) -> Prefilter:
        rules = enumerate(self.rules.rules)
        return self._prefilter([(at, rule) for at, rule in rules if not rule.is_text_only])


def _spans(rule: Rule, text: bytes, places: Places) -> Iterator[Spans]:
    if rule.pattern is None:
        return
    if places is None:
        yield from rule.pattern.spans(text)
    elif "leads" in rule.tags:
        yield from _leading(rule.pattern, text, places)
    else:
        for start, end in _regions(places, len(text)):
            yield from rule.pattern.spans(text, start, end)


def _leading(pattern: Pattern, text: bytes, places: list[tuple[int, int]]) -> Iterator[Spans]:
    done = 0
    for start, _ in places:
        if start < done:
            continue
        spans = pattern.spans_at(text, start, min(len(text), start + NEAR_BYTES))
        if spans is not None:
            yield spans
            done = spans[0][1]


def _regions(hits: list[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    start = end = -1
    for first, last in hits:
        if first - NEAR_BYTES > end:
            if end >= 0:
                yield start, end
            start = max(0, first - NEAR_BYTES)
        end = max(end, min(length, last + NEAR_BYTES))
    if end >= 0:
        yield start, end


def _secret_span(rule: Rule, spans: Spans) -> tuple[int, int]:
    # As gitleaks has it: the named group, else the first one that holds something.
    if rule.secret_group:
        span = spans[rule.secret_group]
        return span if span[0] >= 0 else spans[0]
    return next((span for span in spans[1:] if span[0] >= 0 and span[1] > span[0]), spans[0])


def make_engine(rules: RuleSet, name: str = "auto") -> Engine:
    """The engine of that name; `auto` takes hyperscan where it is installed.

    Raises:
        ConfigurationError: hyperscan is asked for and not installed.
    """
    if name == "re2":
        return Engine(rules)
    try:
        from secret_scan.hyperscan_prefilter import HyperscanPrefilter

        return Engine(rules, "hyperscan", HyperscanPrefilter)
    except ModuleNotFoundError as problem:
        if problem.name != "hyperscan":
            raise
        if name == "hyperscan":
            raise ConfigurationError(
                "the package hyperscan is not installed: install it, or use --engine re2"
            ) from problem
        return Engine(rules)
