"""Run cases, whatever the system does, and say what came of each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from security.attempt import Attempt, VacuousError
from security.judge import checks_of, expected_of, server_errors, statuses_of
from security.model import NOT_RUN, VACUOUS, Case, CaseResult
from security.places import NotHadError

if TYPE_CHECKING:
    from security.attempt import Scene


class Attacker:
    """Runs cases against one started system."""

    def __init__(self, scene: Scene) -> None:
        """Nothing is sent yet."""
        self._scene = scene
        self.canaries: list[str] = []
        self.not_logged: list[str] = []

    def run(self, case: Case) -> CaseResult:
        """Run a case to its end, whatever the system does."""
        begun = time.monotonic()
        expected = expected_of(case)
        checks = checks_of(case, self._scene.security)
        attempt = Attempt(self._scene, case)
        self.canaries.append(attempt.values["canary"])
        try:
            outcome, problems, exchanges = attempt.run()
        except NotHadError as problem:
            return CaseResult(case, NOT_RUN, expected, str(problem))
        except VacuousError as problem:
            seconds = round(time.monotonic() - begun, 6)
            return CaseResult(case, VACUOUS, expected, str(problem), seconds=seconds, checks=checks)
        finally:
            self.not_logged += attempt.not_logged
        got = "; ".join(f"{item.kind}: {item.text}" for item in problems[:4]) or statuses_of(
            exchanges
        )
        return CaseResult(
            case,
            outcome,
            expected,
            got,
            problems,
            status=exchanges[0].status if exchanges else None,
            server_errors=attempt.server_errors
            + sum(server_errors(item, case.expect["status"]) for item in exchanges),
            seconds=round(time.monotonic() - begun, 6),
            checks=checks,
        )
