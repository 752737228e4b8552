"""Every task of Proof Pack is a session; `nox -l` is the manual.

Standard library and nox only, so that listing stays fast. Arguments after `--` go to
the script.
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typecheck", "test"]

# Where a company's proxy signs the traffic, only the system's certificates know it.
os.environ.setdefault("UV_SYSTEM_CERTS", "1")

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "constraints.txt"
SERVICES_LOCK = ROOT / "compose/reference/requirements.txt"
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")


def install(session: nox.Session, *groups: str) -> None:
    """Install dependency groups; uv checks each file against the hashes of the one lock."""
    wanted = nox.project.dependency_groups(PROJECT, *groups)
    session.install("--constraint", str(LOCK), *wanted)
    session.env["PYTHONHASHSEED"] = "0"


def run_script(session: nox.Session, name: str, *arguments: str) -> None:
    """Run scripts/<name>.py with the arguments after `--`."""
    install(session, "scripts")
    session.run(
        "python",
        str(ROOT / "scripts" / f"{name}.py"),
        *arguments,
        *session.posargs,
        # After Ctrl-C a script stops the system and seals what it measured: let it.
        interrupt_timeout=90,
        terminate_timeout=30,
    )


@nox.session(tags=["proof"])
def smoke(session: nox.Session) -> None:
    """Boot the system from scratch, ask the golden requests, sign the transcript."""
    run_script(session, "spinup_smoke")


@nox.session(name="proof-pack", tags=["proof"])
def proof_pack(session: nox.Session) -> None:
    """Prove the whole flow: start, submit jobs, verify the store, seal the evidence."""
    run_script(session, "run_proof_pack")


@nox.session(name="check-prerequisites", tags=["proof"])
def check_prerequisites(session: nox.Session) -> None:
    """Check what every gate needs before it starts."""
    run_script(session, "check_prerequisites")


@nox.session(name="verify-evidence", tags=["proof"])
def verify_evidence(session: nox.Session) -> None:
    """Verify a sealed bundle: `nox -s verify-evidence -- BUNDLE --key KEY.pub`."""
    run_script(session, "verify_evidence")


@nox.session
def up(session: nox.Session) -> None:
    """Run the stack in the foreground until Ctrl-C."""
    run_script(session, "run_stack")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure our overhead against the bare floor, in one run; writes benchmarks.json."""
    run_script(session, "run_benchmarks")


@nox.session(tags=["check"])
def test(session: nox.Session) -> None:
    """Run every test that needs no Docker."""
    install(session, "scripts", "services", "test")
    session.run("pytest", "-m", "not docker", *session.posargs)


@nox.session(name="test-compose", tags=["check"])
def test_compose(session: nox.Session) -> None:
    """Run the tests that need a Docker engine."""
    install(session, "scripts", "services", "test")
    session.run("pytest", "-m", "docker", *session.posargs)


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    install(session, "lint")
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(tags=["check"])
def typecheck(session: nox.Session) -> None:
    """Check types: mypy --strict over scripts, services, tests and this file."""
    install(session, "scripts", "services", "test", "lint", "bootstrap")
    session.run("mypy", *session.posargs)


@nox.session(name="format", default=False)
def format_code(session: nox.Session) -> None:
    """Apply ruff's fixes and formatting."""
    install(session, "lint")
    session.run("ruff", "check", "--fix", ".")
    session.run("ruff", "format", ".")


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Resolve all groups into constraints.txt, and the services' part of it into their lock."""
    session.install("--constraint", str(LOCK), "uv")
    # An index of this machine must not leak into the locks: no URL is written.
    options = ["--quiet", "--universal", "--python-version=3.11", "--generate-hashes"]
    options += ["--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    groups = [f"--group={name}" for name in PROJECT["dependency-groups"]]
    services = ["--group=services", f"--constraint={LOCK}", f"--output-file={SERVICES_LOCK}"]
    os.chdir(ROOT)
    session.run(
        "uv", "pip", "compile", *options, *groups, f"--output-file={LOCK}", *session.posargs
    )
    session.run("uv", "pip", "compile", *options, *services)
