"""The rules: each finds what it is for and passes over what it is not for; gitleaks' schema."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml
from made_secrets import Maker

from common.cli import ConfigurationError
from secret_scan.engine import NEAR_BYTES, make_engine
from secret_scan.fingerprint import FingerprintKey
from secret_scan.judging import Place
from secret_scan.rules import LOCATED, OWN_RULES, load_rules
from secret_scan.text_scan import TextScanner

# YAML reads a bare `yes` and `no` as true and false; here they are words.
TEXT = yaml.BaseLoader
EXAMPLES = yaml.load(Path(__file__).with_name("rule_examples.yaml").read_text("utf-8"), TEXT)  # noqa: S506 - BaseLoader makes texts only
RULES = load_rules()
SCANNER = TextScanner(make_engine(RULES, "re2"), FingerprintKey(b"k" * 32))


def found(text: str, path: str = "notes/deploy.conf") -> set[str]:
    """The rules that find something in `text`."""
    tally = SCANNER.scan([text.encode()], Place(path), is_binary=False)
    return {finding.rule for finding in tally.findings}


def test_every_rule_has_examples_of_both_kinds() -> None:
    assert {rule.id for rule in RULES.rules} == EXAMPLES.keys()
    assert len(EXAMPLES) > 80
    assert [name for name, one in EXAMPLES.items() if not (one["yes"] and one["no"])] == []


@pytest.mark.parametrize("rule", sorted(EXAMPLES))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_rule_finds_its_examples(rule: str, seed: int) -> None:
    """The rule itself, or a more special one that comes before it, names the secret."""
    path = EXAMPLES[rule].get("path", "notes/deploy.conf")
    for template in EXAMPLES[rule]["yes"]:
        text = Maker(f"{rule} {seed}").fill(template)
        assert rule in found(f"first line\n{text}\nlast line\n", path), template


@pytest.mark.parametrize("rule", sorted(EXAMPLES))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_rule_passes_over_what_it_is_not_for(rule: str, seed: int) -> None:
    path = EXAMPLES[rule].get("path", "notes/deploy.conf")
    for template in EXAMPLES[rule]["no"]:
        text = Maker(f"{rule} {seed}").fill(template)
        assert rule not in found(f"first line\n{text}\nlast line\n", path), template


def test_what_a_call_makes_is_no_secret_in_code() -> None:
    text = "password = utf8Str2ing9Of(given)"
    assert found(text, "a.mjs") == set()
    assert found(Maker("call").fill("password = {an:20}"), "a.mjs") == {"assigned-secret"}


def test_all_expressions_compile_and_have_a_group_for_the_secret() -> None:
    for rule in RULES.rules:
        assert rule.pattern is not None
        assert rule.pattern.groups >= 1, rule.id
        assert rule.secret_group <= rule.pattern.groups


def test_a_near_rule_has_its_keyword_inside_of_a_match_of_bounded_length() -> None:
    """Else it would not be found around its keywords."""
    _parser = importlib.import_module("re._parser")  # tells how long a match can be

    for rule in RULES.rules:
        if rule.tags & LOCATED:
            assert rule.pattern is not None
            source = rule.pattern.source.replace("(?i:", "(?:")
            assert _parser.parse(source).getwidth()[1] <= NEAR_BYTES, rule.id
            assert rule.keywords, rule.id


def test_a_leading_rule_begins_with_one_of_its_keywords_wherever_it_matches() -> None:
    """Else it would be found or not by what stands around it: all beginnings are tried here."""
    leading = [rule for rule in RULES.rules if "leads" in rule.tags]
    assert len(leading) > 1
    for rule in leading:
        assert rule.pattern is not None
        beginnings = sorted(_beginnings(rule.pattern.source))
        assert beginnings == sorted(rule.keywords), rule.id


def _beginnings(source: str) -> set[str]:
    """The literal texts that an expression begins with, alternatives and optional parts filled."""
    body = source.removeprefix("(?i:") if source.startswith("(?i:") else source[:3]
    if not source.startswith("(?i:"):
        return {body}
    depth, end = 1, 0
    while depth:
        depth += {"(": 1, ")": -1}.get(body[end], 0)
        end += 1
    found = set[str]()
    for part in re.split(r"\|(?![^(]*\))", body[: end - 1]):
        group = re.match(r"\(\?:([^)]*)\)\[([^]]*)\]\?(\w+)$", part)
        if group is None:
            found.add(part)
            continue
        for name in group[1].split("|"):
            found |= {name + mark + group[3] for mark in ("", *group[2])}
    return found


def write(folder: Path, text: str) -> Path:
    """A rule file."""
    path = folder / "rules.toml"
    path.write_text(text, "utf-8")
    return path


GOOD = "[[rules]]\nid = 'x'\nregex = '''xx([0-9]{4})'''\n"


def test_a_file_of_gitleaks_schema_is_read(tmp_path: Path) -> None:
    rules = load_rules(
        write(
            tmp_path,
            "title = 't'\n[allowlist]\npaths = ['''vendor/''']\n"
            + GOOD
            + "description = 'd'\nkeywords = ['XX']\nsecretGroup = 1\nentropy = 1.5\ntags = ['a']\n"
            + "[[rules.allowlists]]\ncondition = 'AND'\nregexTarget = 'line'\n"
            + "regexes = ['''ok''']\nstopwords = ['1234']\n",
        )
    )
    (rule,) = rules.rules
    assert (rule.keywords, rule.secret_group, rule.entropy) == (("xx",), 1, 1.5)
    assert rule.allowlists[0].condition == "AND"
    assert rules.allowlists[0].is_about_paths_alone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "skipReport = true\n", "rules.toml:4: rules[0]: unknown key 'skipReport'"),
        (GOOD + "[[rules.required]]\nid = 'y'\n", "unknown key 'required'"),
        (GOOD + "secretGroup = 2\n", "rules.toml:4: expected a group of the regex (at most 1)"),
        (
            "[[rules]]\nid = 'x'\nregex = '''(?=a)'''\n",
            "rules.toml:3: expected an expression of RE2",
        ),
        ("[[rules]]\nid = 'x'\n", "expected a regex or a path"),
        (GOOD + GOOD, "rules.toml:5: the rule 'x' stands twice"),
        (GOOD + "entropy = 'high'\n", "rules.toml:4: rules[0].entropy: expected number"),
        (GOOD + "[[rules.allowlists]]\ndescription = 'd'\n", "expected paths, regexes"),
        (GOOD + "[[allowlists]]\ntargetRules = ['y']\npaths = ['a']\n", "expected rules, got 'y'"),
        ("[extend]\nurl = 'https://a.b/c'\n" + GOOD, "unknown key 'url'"),
        ("[extend]\npath = 'a'\nuseDefault = true\n", "expected useDefault or path, got both"),
        ("[extend]\npath = 'rules.toml'\n", "too deeply"),
        ("title = 't'\n", "expected at least one rule"),
        ("[[rules]\n", "not TOML"),
    ],
)
def test_what_is_not_supported_is_refused_with_file_and_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_rules(write(tmp_path, text))
    assert expected in str(caught.value)


def test_a_rule_file_extends_ours_and_can_switch_rules_off(tmp_path: Path) -> None:
    text = "[extend]\nuseDefault = true\ndisabledRules = ['github-token']\n" + GOOD
    ids = {rule.id for rule in load_rules(write(tmp_path, text)).rules}
    assert ids == ({rule.id for rule in RULES.rules} | {"x"}) - {"github-token"}
    with pytest.raises(ConfigurationError, match="expected a rule of secrets"):
        load_rules(write(tmp_path, text.replace("github-token", "nope")))


def test_the_hash_of_the_rules_knows_every_file(tmp_path: Path) -> None:
    one = load_rules(write(tmp_path, "[extend]\nuseDefault = true\n" + GOOD)).sha256
    two = load_rules(write(tmp_path, "[extend]\nuseDefault = true\n" + GOOD + "\n")).sha256
    assert len({one, two, load_rules(OWN_RULES).sha256}) == 3
