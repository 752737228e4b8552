"""stack.load: a stack file is read strictly and its errors name file, line and path."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
from fakes.system import stack_value, write_value
from hypothesis import given, settings
from hypothesis import strategies as st

from common.cli import ConfigurationError
from stack.load import load_stack, start_order
from stack.model import Service

REFERENCE = Path(__file__).resolve().parents[2] / "compose/reference/stack.yaml"


def edit(value: dict[str, Any], path: str, new: object) -> dict[str, Any]:
    """Set or (with None) delete the value at a path such as services.0.url."""
    changed: Any = copy.deepcopy(value)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = changed
    for part in parents:
        place = place[part]
    if new is None:
        del place[last]
    else:
        place[last] = new
    return dict(changed)


def test_the_reference_stack_loads_with_six_system_services() -> None:
    stack = load_stack(REFERENCE, {})
    assert sum(service.role == "system" for service in stack.services) == 6
    assert {service.url.rsplit(":", 1)[1] for service in stack.services} >= {
        str(port) for port in range(7000, 7051, 10)
    }


@pytest.mark.parametrize(
    ("path", "new", "says"),
    [
        ("version", 2, "version: expected"),
        ("surprise", 1, "unknown key 'surprise'"),
        ("services.0.color", "red", r"services\[0\]: unknown key 'color'"),
        ("services", [], "services: expected at least 1 entries"),
        ("services.0.name", "No Spaces", "a name of lower-case letters"),
        ("services.0.url", "ftp://x", "an http or https URL"),
        ("services.0.url", "http://x:99999", "a port from 1 to 65535"),
        ("services.0.depends_on", ["ghost"], "got 'ghost'"),
        ("services.1.depends_on", ["front"], "form a circle"),
        ("services.1.name", "front", "stands twice"),
        ("services.1.start_seconds", "1e3", "expected number"),
        ("runtimes.process.services.jobs", None, "got none for 'jobs'"),
        ("runtimes.process.services.ghost", {"command": ["x"]}, "got 'ghost'"),
        ("runtimes.process.services.jobs.command", [], "at least 1 entries"),
        ("runtimes.process.environment.X", "{nope}", r"unknown placeholder \{nope\}"),
        ("runtimes.process.environment.X", "{secret:OTHER}", "unknown placeholder"),
        ("workload.service", "ghost", "got 'ghost'"),
        ("workload.submit.body.x", "{job_id}", "unknown placeholder"),
        ("workload.verify.store.store", "ghost", "expected one of results, got 'ghost'"),
        ("workload.verify.store.query", "SELECT 1", "expected the parameter :job_id"),
        ("workload.strategies", ["a", "a"], "each entry once"),
        ("workload.targets", {}, "at least 1 entries"),
        ("golden.0.service", "ghost", "got 'ghost'"),
        ("workload", None, "expected the key 'workload'"),
    ],
)
def test_a_broken_stack_file_is_refused_with_its_place(
    tmp_path: Path, path: str, new: object, says: str
) -> None:
    file = write_value(tmp_path, edit(stack_value(), path, new))
    with pytest.raises(ConfigurationError, match=says) as caught:
        load_stack(file, {})
    assert str(caught.value).startswith(f"{file}:")


def test_the_error_names_the_line(tmp_path: Path) -> None:
    file = write_value(tmp_path, stack_value())
    lines = file.read_text().splitlines()
    number = next(index for index, line in enumerate(lines) if "start_seconds" in line)
    lines[number] = lines[number].replace("5", "five")
    file.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=rf"stack.yaml:{number + 1}: "):
        load_stack(file, {})


def test_a_missing_stack_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't read"):
        load_stack(tmp_path / "none.yaml", {})


def test_url_variables_override_where_a_service_is(tmp_path: Path) -> None:
    """P8."""
    file = write_value(tmp_path, stack_value())
    stack = load_stack(file, {"FAKE_JOBS_URL": "http://elsewhere:9/"})
    assert stack.service("jobs").url == "http://elsewhere:9"
    assert stack.service("jobs").overridden
    assert not stack.service("front").overridden


def test_a_broken_url_variable_is_refused(tmp_path: Path) -> None:
    file = write_value(tmp_path, stack_value())
    with pytest.raises(ConfigurationError, match="FAKE_JOBS_URL: expected"):
        load_stack(file, {"FAKE_JOBS_URL": "nonsense"})


def test_a_required_variable_must_be_set(tmp_path: Path) -> None:
    file = write_value(tmp_path, {**stack_value(), "required_env": ["NEEDED"]})
    with pytest.raises(ConfigurationError, match="NEEDED is required"):
        load_stack(file, {})
    assert load_stack(file, {"NEEDED": "x"}).required_env == ("NEEDED",)


GRAPHS = st.integers(1, 8).flatmap(
    lambda count: st.lists(
        st.lists(st.integers(0, count - 1), max_size=3), min_size=count, max_size=count
    )
)


@given(GRAPHS)
def test_every_service_starts_after_what_it_needs(graph: list[list[int]]) -> None:
    services = [
        Service(
            f"s{index}", "http://x", depends_on=tuple(f"s{need}" for need in needs if need < index)
        )
        for index, needs in enumerate(graph)
    ]
    waves = start_order(services)
    place = {name: number for number, wave in enumerate(waves) for name in wave}
    assert sorted(place) == sorted(service.name for service in services)
    assert all(place[need] < place[item.name] for item in services for need in item.depends_on)


@settings(max_examples=40)
@given(
    where=st.sampled_from(["services", "workload", "runtimes", "stores", "golden", "secrets"]),
    junk=st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers()),
)
def test_junk_never_gives_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, where: str, junk: object
) -> None:
    folder = tmp_path_factory.mktemp("junk")
    file = write_value(folder, {**stack_value(), where: junk})
    with contextlib.suppress(ConfigurationError):
        load_stack(file, {})
