"""Rules as data: gitleaks' TOML, read strictly; what this scanner can't do is refused."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError
from common.folders import ROOT
from common.schema import check
from secret_scan.patterns import Pattern
from secret_scan.toml_document import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from common.documents import Document, JsonPath

OWN_RULES = ROOT / "scripts/rules/secrets.toml"
# Tags of rules whose keyword stands inside of the match, or at its beginning.
LOCATED = frozenset({"near", "leads"})
_DEEPEST_EXTENSION = 2  # gitleaks' own bound


@dataclass(frozen=True)
class Allowlist:
    """What is passed over; `condition` says whether one of its parts is enough or all count."""

    condition: str
    paths: tuple[Pattern, ...]
    regexes: tuple[Pattern, ...]
    regex_target: str
    stopwords: tuple[bytes, ...]
    commits: frozenset[str]
    rules: frozenset[str]

    @property
    def is_about_paths_alone(self) -> bool:
        """Whether a path decides without looking into the file."""
        more = bool(self.regexes or self.stopwords or self.commits or self.rules)
        return bool(self.paths) and (not more or self.condition == "OR") and not self.rules


@dataclass(frozen=True)
class Rule:
    """One kind of secret."""

    id: str
    description: str
    pattern: Pattern | None
    path: Pattern | None
    secret_group: int
    entropy: float
    keywords: tuple[str, ...]
    tags: frozenset[str]
    allowlists: tuple[Allowlist, ...]

    @property
    def is_located(self) -> bool:
        """Whether it is looked for where its keywords stand, and nowhere else."""
        return bool(self.keywords) and not self.tags.isdisjoint(LOCATED)

    @property
    def is_text_only(self) -> bool:
        """Whether it is not tried on binary data."""
        return "text-only" in self.tags


@dataclass(frozen=True)
class RuleSet:
    """All rules of a scan, in order: an earlier one names a finding that two rules make."""

    rules: tuple[Rule, ...]
    allowlists: tuple[Allowlist, ...]
    sha256: str


def load_rules(path: Path | None = None) -> RuleSet:
    """Read a rule file, and what it extends.

    Raises:
        ConfigurationError: the file is missing, no TOML, has a key or a value that this
            scanner does not know, or a regular expression that RE2 refuses.
    """
    digest = hashlib.sha256()
    rules, allowlists = _load(path or OWN_RULES, digest, 0)
    if not rules:
        raise ConfigurationError(f"{path or OWN_RULES}: expected at least one rule, got none")
    return RuleSet(tuple(rules.values()), tuple(allowlists), digest.hexdigest())


def _load(path: Path, digest: hashlib._Hash, depth: int) -> tuple[dict[str, Rule], list[Allowlist]]:
    document = read_toml(path)
    check(document, "secret_rules")
    digest.update(path.read_bytes())
    rules, allowlists = _extended(document, digest, depth)
    for index, item in enumerate(document.value.get("rules", ())):
        where: JsonPath = ("rules", index)
        if item["id"] in rules and depth == 0 and "extend" not in document.value:
            raise _wrong(document, (*where, "id"), f"the rule {item['id']!r} stands twice")
        rules[item["id"]] = _rule(document, item, where)
    known = rules.keys()
    for where, item in _allowlist_items(document.value):
        made = _allowlist(document, item, where)
        if unknown := sorted(made.rules - known):
            raise _wrong(document, where, f"targetRules: expected rules, got {unknown[0]!r}")
        allowlists.append(made)
    return rules, allowlists


def _extended(
    document: Document, digest: hashlib._Hash, depth: int
) -> tuple[dict[str, Rule], list[Allowlist]]:
    extend = document.value.get("extend")
    if extend is None:
        return {}, []
    if depth >= _DEEPEST_EXTENSION:
        raise _wrong(document, ("extend",), "rule files extend each other too deeply")
    if extend.get("useDefault") and "path" in extend:
        raise _wrong(document, ("extend",), "expected useDefault or path, got both")
    base = OWN_RULES if extend.get("useDefault") else document.path.parent / extend.get("path", "")
    if not extend.get("useDefault") and "path" not in extend:
        raise _wrong(document, ("extend",), "expected useDefault = true or a path, got neither")
    rules, allowlists = _load(Path(base), digest, depth + 1)
    for name in extend.get("disabledRules", ()):
        if rules.pop(name, None) is None:
            raise _wrong(
                document,
                ("extend", "disabledRules"),
                f"expected a rule of {base.name}, got {name!r}",
            )
    return rules, allowlists


def _rule(document: Document, item: dict[str, Any], where: JsonPath) -> Rule:
    pattern = _pattern(document, item.get("regex"), (*where, "regex"))
    group = item.get("secretGroup", 0)
    if pattern is not None and group and group > pattern.groups:
        raise _wrong(
            document,
            (*where, "secretGroup"),
            f"expected a group of the regex (at most {pattern.groups}), got {group}",
        )
    if pattern is None and "path" not in item:
        raise _wrong(document, where, f"expected a regex or a path in the rule {item['id']!r}")
    lists = [_allowlist(document, entry, at) for at, entry in _allowlist_items(item, where)]
    return Rule(
        id=item["id"],
        description=item.get("description", item["id"]),
        pattern=pattern,
        path=_pattern(document, item.get("path"), (*where, "path")),
        secret_group=group,
        entropy=float(item.get("entropy", 0)),
        keywords=tuple(dict.fromkeys(word.lower() for word in item.get("keywords", ()))),
        tags=frozenset(item.get("tags", ())),
        allowlists=tuple(lists),
    )


def _allowlist_items(
    value: dict[str, Any], where: JsonPath = ()
) -> Iterable[tuple[JsonPath, dict[str, Any]]]:
    if "allowlist" in value:  # gitleaks' older spelling of one
        yield (*where, "allowlist"), value["allowlist"]
    for index, item in enumerate(value.get("allowlists", ())):
        yield (*where, "allowlists", index), item


def _allowlist(document: Document, item: dict[str, Any], where: JsonPath) -> Allowlist:
    if not any(item.get(key) for key in ("paths", "regexes", "stopwords", "commits")):
        raise _wrong(document, where, "expected paths, regexes, stopwords or commits, got none")
    return Allowlist(
        condition={"&&": "AND", "||": "OR"}.get(
            item.get("condition", "OR"), item.get("condition", "OR")
        ).upper(),
        paths=_patterns(document, item.get("paths", ()), (*where, "paths")),
        regexes=_patterns(document, item.get("regexes", ()), (*where, "regexes")),
        regex_target=item.get("regexTarget", "secret"),
        stopwords=tuple(word.lower().encode() for word in item.get("stopwords", ())),
        commits=frozenset(name.lower() for name in item.get("commits", ())),
        rules=frozenset(item.get("targetRules", ())),
    )


def _patterns(document: Document, sources: Sequence[str], where: JsonPath) -> tuple[Pattern, ...]:
    found = (_pattern(document, source, where) for source in sources)
    return tuple(pattern for pattern in found if pattern is not None)


def _pattern(document: Document, source: str | None, where: JsonPath) -> Pattern | None:
    if source is None:
        return None
    pattern = Pattern(source)
    if document.path == OWN_RULES:  # compiled when used: tests compile them all
        return pattern
    try:
        return pattern if pattern.groups >= 0 else None
    except ValueError as problem:
        raise _wrong(document, where, f"expected an expression of RE2, got: {problem}") from problem


def _wrong(document: Document, where: JsonPath, what: str) -> ConfigurationError:
    return ConfigurationError(f"{document.path}:{document.line_of(where)}: {what}")
