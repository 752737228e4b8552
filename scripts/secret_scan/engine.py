"""Which rules match where: a prefilter names candidates, RE2 confirms each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from common.cli import ConfigurationError
from secret_scan.keywords import Keywords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from secret_scan.patterns import Spans
    from secret_scan.rules import Rule, RuleSet

ENGINES = ("auto", "re2", "hyperscan")
# A rule with the tag `near` has its keyword inside of its match, and no match is longer:
# it is looked for around its keywords only, which finds the same (a test asserts it).
NEAR_BYTES = 1200


Places = list[tuple[int, int]] | None


class Prefilter(Protocol):
    """Says which rules can match in a text; one too many costs time, one too few a secret."""

    name: str

    def candidates(self, text: bytes) -> set[int]:
        """The positions of such rules in the rule set."""

    def may_hide_text(self, text: bytes) -> bool:
        """Whether base64 or hex of a text can stand in it."""


@dataclass(frozen=True)
class Match:
    """One match: the rule, and where the secret stands in the text."""

    rule: Rule
    order: int
    start: int
    end: int
    secret_start: int
    secret_end: int


class Engine:
    """All rules, ready to use.

    Args:
        rules: what is looked for.
        prefilter: a faster way to candidates than the keywords, with the same matches.
    """

    def __init__(self, rules: RuleSet, prefilter: Prefilter | None = None) -> None:
        """See the class."""
        self.rules = rules
        self.name = prefilter.name if prefilter else "re2"
        self._prefilter = prefilter
        self._keywords = Keywords(rules)

    def may_hide_text(self, text: bytes) -> bool:
        """Whether it is worth to look for encoded text."""
        return self._prefilter is None or self._prefilter.may_hide_text(text)

    def matches(self, text: bytes, wanted: Callable[[Rule], bool]) -> Iterator[Match]:
        """What the wanted rules find, rule by rule."""
        for order, places in self._candidates(text):
            rule = self.rules.rules[order]
            if wanted(rule):
                for spans in _spans(rule, text, places):
                    yield Match(rule, order, *spans[0], *_secret_span(rule, spans))

    def _candidates(self, text: bytes) -> list[tuple[int, Places]]:
        """Rules in order, each with the places of its keywords; None is everywhere."""
        if self._prefilter is None:
            hits = self._keywords.hits(text)
            found: dict[int, Places] = {order: hits.get(order) for order in self._keywords.always}
            return sorted((found | hits).items())
        # They match somewhere in here: to look everywhere costs less than to look for keywords.
        lower, candidates = b"", sorted(self._prefilter.candidates(text))
        if candidates:
            lower = text.lower()
        return [(order, None) for order in candidates if self._has_keyword(order, lower)]

    def _has_keyword(self, order: int, lower: bytes) -> bool:
        words = self.rules.rules[order].keywords
        return not words or any(word.encode("utf-8") in lower for word in words)


def _spans(rule: Rule, text: bytes, places: Places) -> Iterator[Spans]:
    if rule.pattern is None:
        return
    if places is None or "near" not in rule.tags:
        yield from rule.pattern.spans(text)
        return
    for start, end in _regions(places, len(text)):
        yield from rule.pattern.spans(text, start, end)


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

        return Engine(rules, HyperscanPrefilter(rules))
    except ModuleNotFoundError as problem:
        if problem.name != "hyperscan":
            raise
        if name == "hyperscan":
            raise ConfigurationError(
                "the package hyperscan is not installed: install it, or use --engine re2"
            ) from problem
        return Engine(rules)
