"""Run one case: set up, show that the good request works, attack, look at what it did."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from security.corpus import follow_up, twin_of
from security.instruments import ProcessTable
from security.judge import SUCCESSES, Observed, json_problems, judge, read_json, server_errors
from security.log_tail import LogTail
from security.places import NotHadError, differences, snapshot
from security.planting import Planted, remove
from stack.health import probe
from stack.placeholders import fill_value
from stack.workload import pointer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from security.instruments import Listener
    from security.model import Case, Security
    from security.places import Places
    from security.sending import Ready, Speaker
    from security.wire import Exchange
    from stack.runtime import Runtime

SETTLE_SECONDS = 0.05
HEALTH_SECONDS = 5.0
_MEANWHILE_AFTER_SECONDS = 0.3


class VacuousError(Exception):
    """The case could not show anything, because what has to work did not."""


@dataclass(frozen=True)
class Scene:
    """What cases are run with.

    Args:
        runtime: the started system.
        security: its section of the stack file.
        places: its files.
        speaker: sends in anybody's name.
        listener: the canary port.
        never: texts that no answer may hold, by what they are called.
    """

    runtime: Runtime
    security: Security
    places: Places
    speaker: Speaker
    listener: Listener
    never: Mapping[str, str]


class Attempt:
    """One case with its own marker, bait and captured values."""

    def __init__(self, scene: Scene, case: Case) -> None:
        """Nothing is sent yet."""
        self._runtime, self._security, self._places = scene.runtime, scene.security, scene.places
        self._speaker, self._listener, self._case = scene.speaker, scene.listener, case
        canary = f"canary{secrets.token_hex(12)}"
        self._never = {**scene.never, canary: "the bait's content"}
        known = self._places.known()
        self._host = {f"place:{name}": str(path) for name, path in known.items()}
        self.values: dict[str, Any] = {
            **_fresh(),
            **{f"place:{name}": self._places.inside(name) for name in known},
            "canary": canary,
            "listener": self._listener.address,
            "listener_port": str(self._listener.port),
            "bulk": case.bulk,
        }
        self.not_logged: tuple[str, ...] = ()
        self._markers = [self.values["marker"]]
        self.server_errors = 0  # beside those of the attack itself
        self._payload(case.payload)

    def _payload(self, payload: Any) -> None:  # noqa: ANN401 - the JSON edge
        self.values["payload"] = fill_value(payload, {**self._speaker.secrets, **self.values})

    def run(self) -> tuple[str, tuple[Any, ...], list[Exchange]]:
        """The outcome, why, and what was said.

        Raises:
            NotHadError: something that it needs can't be had here.
            VacuousError: what has to work does not.
        """
        self._need_places()
        for number, request in enumerate(self._case.given, start=1):
            self._must_work(request, f"given {number}", self.values)
        self._payload(self._case.payload)  # again: what was captured may stand in it
        try:
            with Planted([self._filled_plant(item) for item in self._case.plant]):
                if self._case.twin is not None:
                    self._run_twin(self._case.twin)
                expect = self._filled(self._case.expect)
                self.not_logged = tuple(expect.get("not_logged", ()))
                seen, exchanges = self._attack(expect)
        finally:
            self._clean_up()
        outcome, problems = judge(expect, seen, self._never)
        return outcome, problems, exchanges

    def _need_places(self) -> None:
        """A case whose places can't be seen here is not run."""
        case = self._case
        text = repr((case.plant, case.attack, case.expect, case.payload, case.then))
        for name in self._security.places:
            if f"{{place:{name}}}" in text:
                self._places.path(name)

    def _filled(self, value: Mapping[str, Any]) -> dict[str, Any]:
        filled = fill_value(dict(value), {**self._speaker.secrets, **self.values})
        if "untouched" in value:
            filled["untouched"] = fill_value(value["untouched"], {**self.values, **self._host})
        return dict(filled)

    def _filled_plant(self, item: Mapping[str, Any]) -> dict[str, Any]:
        filled = {key: fill_value(text, self.values) for key, text in item.items()}
        host = {**self.values, **self._host}
        filled["path"] = fill_value(item["path"], host)
        if item["kind"] == "hard_link":
            filled["target"] = fill_value(item["target"], host)
        return filled

    def _run_twin(self, twin: Mapping[str, Any]) -> None:
        """The same request without what makes it an attack, under a marker of its own."""
        request = twin_of(self._case)
        values = {**self.values, **_fresh()}
        self._markers.append(values["marker"])
        if "payload" not in twin:
            known = {**self._speaker.secrets, **values}
            values["payload"] = fill_value(self._case.payload, known)
        self._must_work(request, "the twin", values)

    def _must_work(self, request: Mapping[str, Any], what: str, values: dict[str, Any]) -> None:
        trouble = self._ask(request, values)
        if trouble:
            raise VacuousError(f"{what} has to work: {trouble}")

    def _ask(self, request: Mapping[str, Any], values: dict[str, Any]) -> str | None:
        """What is wrong with the answer to a request; asked again for as long as it says."""
        self._restart(request)
        deadline = time.monotonic() + float(request.get("within_seconds", 0))
        while True:
            trouble = self._ask_once(request, values)
            if trouble is None or time.monotonic() > deadline:
                return trouble
            time.sleep(SETTLE_SECONDS)

    def _ask_once(self, request: Mapping[str, Any], values: dict[str, Any]) -> str | None:
        found = self._speaker.ready(request, values).send()
        expect = fill_value(request.get("expect", {}), {**self._speaker.secrets, **values})
        allowed = expect.get("status", SUCCESSES)
        self.server_errors += server_errors(found, allowed)
        if found.status is None or found.status not in allowed:
            shown = " or ".join(map(str, allowed)) if allowed is not SUCCESSES else "a success"
            return f"expected {shown}, got {found.status or found.error or 'no answer'}"
        if trouble := next(json_problems(expect, found.answers[0]), None):
            return trouble
        if any(text in found.text for text in expect.get("absent", ())):
            return "the answer holds a text that must be absent"
        value = read_json(found.answers[0])
        for name, where in request.get("capture", {}).items():
            self.values[f"capture:{name}"] = values[f"capture:{name}"] = pointer(value, where)
        return None

    def _restart(self, request: Mapping[str, Any]) -> None:
        if name := request.get("restart"):
            try:
                self._runtime.kill(name)
                self._runtime.restart(name)
            except ScriptError as problem:
                raise NotHadError(f"{name} can't be restarted: {problem}") from problem

    def _attack(self, expect: Mapping[str, Any]) -> tuple[Observed, list[Exchange]]:
        service = self._runtime.stack.service(self._case.attack["service"])
        self._restart(self._case.attack)
        ready = self._speaker.ready(self._case.attack, self.values)
        logs = LogTail(self._runtime, expect.get("not_logged", ()))
        paths = self._watched(expect)
        before = {path: snapshot(path) for path in paths}
        connections = self._listener.count()
        texts = [*expect.get("no_process", ()), *filter(None, [expect.get("clean_environment")])]
        with ProcessTable(texts) as table:
            exchanges, meanwhile = self._send(ready, expect)
            time.sleep(SETTLE_SECONDS)
            follow_ups = [
                f"request {number}: {trouble}"
                for number, request in enumerate(self._case.then, start=1)
                if (trouble := self._ask(follow_up(self._case, request), self.values))
            ]
        return Observed(
            exchanges,
            [line for path in paths for line in self._named(before[path], snapshot(path))],
            table.found(),
            self._listener.count() - connections,
            logs.found(),
            follow_ups,
            meanwhile,
            self._health(service.name, service.url + service.health),
        ), exchanges

    def _watched(self, expect: Mapping[str, Any]) -> list[Path]:
        from pathlib import Path

        known = self._places.known()
        always = [known[name] for name in self._security.watched if name in known]
        return [*always, *(Path(text) for text in expect.get("untouched", ()))]

    def _named(self, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
        """Differences, with places by name: a path of this machine is nobody's business."""
        for line in differences(before, after):
            named = line
            for name, path in self._host.items():
                named = named.replace(path, f"{{{name}}}")
            yield named

    def _send(self, ready: Ready, expect: Mapping[str, Any]) -> tuple[list[Exchange], str | None]:
        copies, times = self._case.attack.get("copies", 1), self._case.attack.get("times", 1)
        meanwhile = expect.get("meanwhile")
        if copies == 1 and not meanwhile:
            return [ready.send() for _ in range(times)], None
        barrier = threading.Barrier(copies)

        def one(_: int) -> list[Exchange]:
            barrier.wait()
            return [ready.send() for _ in range(times)]

        with ThreadPoolExecutor(copies) as pool:
            running = [pool.submit(one, number) for number in range(copies)]
            trouble = self._meanwhile(meanwhile) if meanwhile else None
            return [item for each in running for item in each.result()], trouble

    def _meanwhile(self, request: Mapping[str, Any]) -> str | None:
        time.sleep(_MEANWHILE_AFTER_SECONDS)
        begun = time.monotonic()
        trouble = self._ask({**request, "within_seconds": 0}, dict(self.values))
        seconds = time.monotonic() - begun
        limit = float(request.get("within_seconds", HEALTH_SECONDS))
        if trouble:
            return f"the request beside it: {trouble}"
        if seconds > limit:
            return f"the request beside it: expected an answer in {limit:g} s, got {seconds:.1f} s"
        return None

    def _health(self, name: str, url: str) -> str | None:
        deadline = time.monotonic() + HEALTH_SECONDS
        while not (seen := probe(url)).healthy:
            if time.monotonic() > deadline:
                got = seen.status or seen.error
                with contextlib.suppress(ScriptError):
                    self._runtime.restart(name)
                return f"{name} is not healthy after it: {got}"
            time.sleep(SETTLE_SECONDS)
        return None

    def _clean_up(self) -> None:
        """Remove what attack and twin left under their markers, so that no later case meets it."""
        for path in self._places.known().values():
            with contextlib.suppress(NotHadError):  # judged already: what can't be seen stays
                for entry in snapshot(path) if path.is_dir() else ():
                    if any(marker in entry.rpartition("/")[2] for marker in self._markers):
                        remove(path.__class__(entry))


def _fresh() -> dict[str, str]:
    """Names that nothing else has: hex for names, digits for numbers."""
    return {
        "marker": secrets.token_hex(6),
        "number": f"{secrets.randbelow(10**12):012}",
    }
