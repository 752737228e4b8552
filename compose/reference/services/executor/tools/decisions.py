"""Asks the policy about one action, and says so: in the log, in the metrics (G3b, K4)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client import Counter, Gauge, Histogram

from services.executor.policy.denied import DeniedError
from services.executor.policy.store import judge
from services.kit.logs import log, warn

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from services.executor.policy.rego import Decision
    from services.executor.policy.store import Loaded, PolicyStore

# Fine below 120 ms, where the service level is (K4).
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.12, 0.25, 1.0)
_TOOLS = frozenset({"shell", "file", "browser"})


class Decisions:
    """The door to the tools: nobody gets past it without the policy's word."""

    def __init__(self, store: PolicyStore, registry: CollectorRegistry) -> None:
        """Ask `store`; count into `registry`."""
        self.store = store
        labels = ("tool", "outcome", "reason")
        self._decisions = Counter("policy_decisions", "Actions judged.", labels, registry=registry)
        self._seconds = Histogram(
            "policy_evaluation_seconds",
            "Seconds from an action's arrival at the policy to its decision.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._gauge(registry, "policy_drift", "1 where the policy is not the approved one.")
        self._gauge(registry, "policy_invalid", "1 where the policy can't be used.")
        self._gauge(registry, "policy_changes", "Times that another policy was found.")

    def decide(self, question: dict[str, Any]) -> tuple[Loaded, Decision]:
        """The policy in force and what it says, which is: allowed.

        Raises:
            DeniedError: anything else.
        """
        started, sha256 = time.perf_counter(), ""
        try:
            loaded = self.store.current()
            sha256 = loaded.sha256
            decision = judge(loaded, question)
            if not decision.allow:
                raise DeniedError(decision.reason, "the policy does not list this action")
        except DeniedError as problem:
            self.say(question, "denied", problem.reason, sha256, started)
            raise
        self.say(question, "allowed", decision.reason, sha256, started)
        return loaded, decision

    def refused(self, question: dict[str, Any], problem: DeniedError, sha256: str) -> None:
        """The policy allowed it, and the sandbox did not."""
        self.say(question, "denied", problem.reason, sha256, None)

    def say(
        self,
        question: dict[str, Any],
        outcome: str,
        reason: str,
        sha256: str,
        started: float | None,
    ) -> None:
        """One line and one count; of the arguments only what can't hold a secret."""
        tool = question["tool"]
        fields: dict[str, Any] = {"outcome": outcome, "reason": reason}
        fields |= {"tool": tool, "caller": question["caller"], "policy": sha256}
        if started is not None:
            seconds = time.perf_counter() - started
            self._seconds.observe(seconds)
            fields["milliseconds"] = round(seconds * 1000, 3)
        if outcome == "allowed" and "argv" in question:
            fields["program"] = question["argv"][0]  # it is on the list
        self._decisions.labels(tool if tool in _TOOLS else "other", outcome, reason).inc()
        (log if outcome == "allowed" else warn)("policy decision", **fields)

    def _gauge(self, registry: CollectorRegistry, name: str, text: str) -> None:
        def value() -> float:
            status = self.store.status()
            values = {
                "policy_drift": status.drift,
                "policy_invalid": status.state != "in force",
                "policy_changes": self.store.changes,
            }
            return float(values[name])

        Gauge(name, text, registry=registry).set_function(value)
