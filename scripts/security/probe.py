"""All cases against one system: sent in order, counted by family and control, written down."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from security.attack import Attacker
from security.attempt import Scene
from security.instruments import Listener
from security.model import BYPASSED, HELD, NOT_RUN, OUTCOMES, UNEXPECTED, VACUOUS
from security.places import Places
from security.sending import Speaker
from security.tokens import Forger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self

    from security.model import Case, CaseResult, Security
    from stack.runtime import Runtime

_ANSWER_ONLY = {"absent", "json", "headers", "no headers", "output at most"}
LONGEST_NEVER = 3


class Probe:
    """One started system under attack; use it as a block, which holds the canary port."""

    def __init__(self, runtime: Runtime, security: Security) -> None:
        """Nothing is sent yet."""
        self._runtime = runtime
        self._places = Places(security, runtime)
        self.security = security
        self.forger = Forger(security.tokens, self._places.read_key) if security.tokens else None
        self._listener = Listener()
        self.speaker = Speaker(runtime.stack, security, runtime.secrets, self.forger)
        self.never = self._never()
        self._attacker = Attacker(
            Scene(runtime, security, self._places, self.speaker, self._listener, self.never)
        )

    def __enter__(self) -> Self:
        """The port is open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the port, forget the answers."""
        self._listener.__exit__()
        self.speaker.answers.close()

    def run(
        self, cases: Iterable[Case], note: Callable[[CaseResult], None] = lambda _: None
    ) -> list[CaseResult]:
        """The result of each case, in order."""
        results = []
        for case in cases:
            results.append(self._attacker.run(case))
            note(results[-1])
        return results

    @property
    def watched_unseen(self) -> list[str]:
        """Watched places that can't be seen, or are not there: what changes there is not known."""
        known = self._places.known()
        there = {name for name, path in known.items() if os.path.lexists(path)}
        return [name for name in self.security.watched if name not in there]

    def known_values(self) -> dict[str, str]:
        """Every secret that was sent or is known, with what it is called.

        Texts of `not_logged` are among them: a log may get a line later than it was looked at.
        """
        found = {value: f"the secret {name}" for name, value in self._runtime.secrets.items()}
        tokens = self.forger.issued if self.forger else ()
        found |= {text.rpartition(".")[2]: "the signature of a service token" for text in tokens}
        baits = dict.fromkeys(self._attacker.canaries, "the bait's content")
        return {
            **dict.fromkeys(self._attacker.not_logged, "a text of not_logged"),
            **baits,
            **found,
        }

    def _never(self) -> dict[str, str]:
        known = {value: f"the secret {name}" for name, value in self._runtime.secrets.items()}
        here = str(self._runtime.stack.here)
        known |= {here: "a path of the system"} if len(here) > LONGEST_NEVER else {}
        for name, path in self._places.known().items():
            known[str(path)] = f"the path of {name}"
        for number, text in enumerate(self.security.never, start=1):
            known[text] = f"text {number} of security.never"
        return known


def figures(cases: Sequence[Case], results: Sequence[CaseResult]) -> dict[str, Any]:
    """The counts of the summary (schemas/security.schema.json)."""
    outcomes = Counter(item.outcome for item in results)
    ran = [item for item in results if item.outcome != NOT_RUN]
    return {
        "cases_planned": len(cases),
        "cases": len(ran),
        "families": len({item.case.family for item in ran}),
        "controls": len({item.case.control for item in ran}),
        "held": outcomes[HELD],
        "bypasses": outcomes[BYPASSED],
        "unexpected": outcomes[UNEXPECTED],
        "vacuous": outcomes[VACUOUS],
        "not_run": outcomes[NOT_RUN],
        "errors_5xx": sum(item.server_errors for item in results),
        "by_answer_alone": sum(_by_answer_alone(item) for item in ran),
        "by_answer_alone_unexplained": sum(
            _by_answer_alone(item) and item.case.no_effect is None for item in ran
        ),
        "by_family": _counts(results, lambda item: item.case.family),
        "by_control": _counts(results, lambda item: item.case.control),
    }


def _by_answer_alone(item: CaseResult) -> bool:
    """Whether nothing but the answer was looked at, watched places aside."""
    return not {*item.checks} - _ANSWER_ONLY - {"watched places"}


def _counts(
    results: Sequence[CaseResult], key: Callable[[CaseResult], str]
) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for item in results:
        group = found.setdefault(key(item), {"cases": 0, **dict.fromkeys(OUTCOMES, 0)})
        group["cases"] += 1
        group[item.outcome] += 1
    return dict(sorted(found.items()))


def findings(results: Sequence[CaseResult]) -> list[dict[str, str]]:
    """Rows for report.html: each family, and each case that did not hold."""
    rows = []
    for family, group in _counts(results, lambda item: item.case.family).items():
        bad = group["cases"] - group[HELD]
        worse = group[BYPASSED] + group[UNEXPECTED]
        outcome = "failed" if worse else "inconclusive" if bad else "passed"
        said = ", ".join(f"{count} {name}" for name, count in group.items() if count)
        rows.append({"detector": "family", "subject": family, "outcome": outcome, "detail": said})
    for item in results:
        if item.outcome != HELD:
            worse_than = item.outcome in {BYPASSED, UNEXPECTED}
            rows.append(
                {
                    "detector": f"case of {item.case.family}",
                    "subject": item.case.id,
                    "outcome": "failed" if worse_than else "inconclusive",
                    "detail": f"{item.outcome}: expected {item.expected}; got {item.got}",
                }
            )
    return rows


def result_rows(results: Iterable[CaseResult]) -> list[dict[str, Any]]:
    """Each case with what was expected and what came (schemas/security_cases.schema.json)."""
    return [
        {
            "id": item.case.id,
            "family": item.case.family,
            "control": item.case.control,
            "source": item.case.source,
            "says": item.case.says,
            "outcome": item.outcome,
            "expected": item.expected,
            "got": item.got,
            "status": item.status,
            "checks": list(item.checks),
            "problems": [{"kind": one.kind, "text": one.text} for one in item.problems],
            "seconds": item.seconds,
        }
        for item in results
    ]
