"""Engines: the same findings with each; keywords are not lost; nothing runs away."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secret_tree import write_tree

from secret_scan.engine import Engine, KeywordPrefilter, make_engine
from secret_scan.fingerprint import FingerprintKey
from secret_scan.keywords import Keywords
from secret_scan.patterns import Pattern
from secret_scan.rules import LOCATED, Rule, load_rules
from secret_scan.scan import scan

if TYPE_CHECKING:
    from pathlib import Path

RULES = load_rules()
KEY = FingerprintKey(b"k" * 32)
# Where PROOF_PACK_REQUIRE names it, tests/conftest.py refuses to run without it.
needs_hyperscan = pytest.mark.skipif(
    importlib.util.find_spec("hyperscan") is None, reason="needs the package hyperscan"
)


def rule(name: str, *keywords: str) -> Rule:
    """A rule of which only the keywords matter."""
    return replace(RULES.rules[0], id=name, keywords=keywords)


WORDS = st.text(alphabet="ab.", min_size=1, max_size=5)


@given(st.lists(WORDS, min_size=1, max_size=8), st.text(alphabet="abAB.", max_size=60))
def test_no_keyword_is_lost_however_they_overlap(words: list[str], text: str) -> None:
    """A single alternation would lose those that overlap another."""
    keywords = Keywords(enumerate(rule(str(at), word) for at, word in enumerate(words)))
    found = set(keywords.hits(text.encode()))
    assert found == {at for at, word in enumerate(words) if word in text.lower()}


@given(st.lists(WORDS, min_size=1, max_size=8), st.text(alphabet="abAB.", max_size=60))
def test_every_place_of_a_located_rules_keyword_is_told(words: list[str], text: str) -> None:
    rules = [replace(rule("r", word), tags=frozenset({"leads"})) for word in words]
    found = Keywords(enumerate(rules)).hits(text.encode())
    for at, word in enumerate(words):
        starts = [start for start in range(len(text)) if text.lower().startswith(word, start)]
        assert [start for start, _ in found.get(at) or ()] == starts


def test_a_run_of_one_letter_is_looked_at_once() -> None:
    """Not once more at each of its places: a keyword of 20 times the same letter is in use."""
    keywords = Keywords([(0, rule("a", "a" * 20))])
    assert keywords.hits(b"a" * 1000).keys() == {0}
    assert not any(keywords._beyond.values())


def test_a_rule_without_keywords_is_tried_wherever_it_matches() -> None:
    """One pass for all of them, or each for itself where they can't stand in one expression."""
    for sources in (["q[0-9]"], ["(?P<n>q[0-9])", "(?P<n>z)"], [f"q[{n}]" for n in range(10)]):
        rules = [replace(rule("r"), pattern=Pattern(source), path=None) for source in sources]
        look = KeywordPrefilter(list(enumerate(rules))).look
        assert look(b"a q7 b").candidates, sources
    assert (
        not KeywordPrefilter([(0, replace(rules[0], pattern=Pattern("q7")))]).look(b"a").candidates
    )


def everything(engine: Engine, text: bytes) -> list[tuple[int, int, int]]:
    """All matches of all rules."""
    return [(one.order, one.start, one.end) for one in engine.matches(text, lambda _: True)]


def test_looking_near_keywords_finds_what_looking_everywhere_finds(tmp_path: Path) -> None:
    """The tags `near` and `leads` save time, never a match."""
    write_tree(tmp_path)
    everywhere = replace(
        RULES, rules=tuple(replace(one, tags=one.tags - LOCATED) for one in RULES.rules)
    )
    near, far = Engine(RULES), Engine(everywhere)
    for path in sorted(tmp_path.rglob("*.conf")):
        text = path.read_bytes()
        assert everything(near, text) == everything(far, text), path.name


@needs_hyperscan
def test_hyperscan_finds_the_same(tmp_path: Path) -> None:
    write_tree(tmp_path)
    results = [scan([tmp_path], engine=name, key=KEY, workers=1) for name in ("re2", "hyperscan")]
    assert [result.engine for result in results] == ["re2", "hyperscan"]
    assert results[0].findings == results[1].findings
    assert len(results[0].findings) > 150


@needs_hyperscan
def test_a_damaged_cache_of_hyperscan_is_made_anew(tmp_path: Path) -> None:
    from secret_scan.workers import _scanner_of

    (tmp_path / "a.txt").write_text("fine\n")
    _scanner_of.cache_clear()
    scan([tmp_path / "a.txt"], engine="hyperscan", key=KEY)
    (cached,) = (tmp_path / "cache/secret-scan").iterdir()
    cached.write_bytes(cached.read_bytes()[:1000])
    _scanner_of.cache_clear()
    assert scan([tmp_path / "a.txt"], engine="hyperscan", key=KEY).verdict == "passed"


# What makes a backtracking engine run away: long runs of what a rule repeats, without its end.
PUMPS: tuple[bytes, ...] = (
    b"a",
    b"A1",
    b"password=",
    b"://a:",
    b"eyJ",
    b"-----BEGIN PRIVATE KEY-----",
    b"x-_.",
    b" ",
)
PUMPS += (b'"', b"'a',", b"=", b"curl -u a:", b"<password>", b"Server=a;", b"00", b"\n", b"key\t")


@pytest.mark.parametrize("pump", PUMPS)
def test_no_rule_runs_away(pump: bytes) -> None:
    """Four times the text takes about four times as long, not sixteen."""
    engine = make_engine(RULES, "re2")

    def seconds(size: int) -> float:
        text = (pump * (size // len(pump) + 1))[:size]
        begun = time.process_time()
        everything(engine, text)
        return time.process_time() - begun

    seconds(16_000)
    small = min(seconds(16_000) for _ in range(2))
    large = min(seconds(64_000) for _ in range(2))
    assert large < max(12 * small, 1.0)


@given(st.binary(max_size=3000))
def test_any_bytes_are_read(data: bytes) -> None:
    everything(make_engine(RULES, "re2"), data)
