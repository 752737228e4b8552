"""Every task of Proof Pack is a session; `nox -l` is the manual.

Standard library and nox only, so that listing stays fast. Arguments after `--` go to
the script.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
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
SECURITY_LOCK = ROOT / "constraints-security.txt"
REFERENCE = ROOT / "compose/reference"
SERVICES_LOCK = REFERENCE / "requirements.txt"
SECRET_NAMES = ("CLIENT_TOKEN", "DATABASE_ADMIN_PASSWORD", "DATABASE_PASSWORD", "QUEUE_PASSWORD")
# What a test needs that not every machine has, by marker.
NEEDS_MORE = "docker or tools"
QUICK_FOLDERS = ("common", "evidence", "analysis", "properties", "metamorphic", "fuzzing")
GATES = ROOT / "scripts/gates"
GATE_TITLE = re.compile(r"^title: (.+)$", re.MULTILINE)
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")


def install(session: nox.Session, *groups: str, lock: Path = LOCK) -> None:
    """Install dependency groups; uv checks each file against the hashes of the lock."""
    wanted = nox.project.dependency_groups(PROJECT, *groups)
    session.install("--constraint", str(lock), *wanted)
    session.env["PYTHONHASHSEED"] = "0"


def run_script(
    session: nox.Session, name: str, *arguments: str, groups: tuple[str, ...] = ()
) -> None:
    """Run scripts/<name>.py with the arguments after `--`."""
    install(session, "scripts", *groups)
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


@nox.session(name="locust-worker")
def locust_worker(session: nox.Session) -> None:
    """Send a part of a soak's traffic from this machine: `run_soak.py --engine locust`."""
    run_script(session, "run_locust_worker", groups=("locust",))


@nox.session(name="check-prerequisites", tags=["proof"])
def check_prerequisites(session: nox.Session) -> None:
    """Check what every gate needs before it starts."""
    run_script(session, "check_prerequisites")


@nox.session(name="validate-config", tags=["proof"])
def validate_config(session: nox.Session) -> None:
    """Validate a stack's configuration: `nox -s validate-config -- validate --stack FILE` (K1)."""
    run_script(session, "validate_config", *(() if session.posargs else ("validate",)))


@nox.session(name="verify-evidence", tags=["proof"])
def verify_evidence(session: nox.Session) -> None:
    """Verify a sealed bundle: `nox -s verify-evidence -- BUNDLE --key KEY.pub`."""
    run_script(session, "verify_evidence")


@nox.session(tags=["proof"])
def verify(session: nox.Session) -> None:
    """Verify the newest bundle with your own public key."""
    run_script(session, "verify_newest")


@nox.session(name="pack-verify", tags=["proof"])
def pack_verify(session: nox.Session) -> None:
    """Hold a pack index against its schema, its budget and the files it was made of."""
    run_script(session, "pack_verify")


@nox.session(name="probe-security", tags=["proof"])
def probe_security(session: nox.Session) -> None:
    """Attack the system with the corpora of its stack file; switch each control off first."""
    run_script(session, "probe_security")


@nox.session(name="fuzz-endpoints", tags=["proof"])
def fuzz_endpoints(session: nox.Session) -> None:
    """Ask every operation of every OpenAPI document for what it takes and what it does not."""
    run_script(session, "fuzz_endpoints")


@nox.session(name="check-secrets", tags=["proof"])
def check_secrets(session: nox.Session) -> None:
    """Look for secrets in the checkout, its history, and what a run logs, answers and seals."""
    run_script(session, "check_secrets")


@nox.session(name="backup-restore", tags=["proof"])
def backup_restore(session: nox.Session) -> None:
    """Back up, check and restore stores: `nox -s backup-restore -- verify ARCHIVE` (G4)."""
    run_script(session, "backup_restore", *(() if session.posargs else ("--help",)))


@nox.session(tags=["proof"])
def ledger(session: nox.Session) -> None:
    """Show how each gate stands, or record what was done: `nox -s ledger -- show --markdown`."""
    run_script(session, "ledger", *(() if session.posargs else ("show",)))


def gate_session(name: str) -> None:
    """Make a session of a gate's file; its `title` says what it is."""

    def session_of_gate(session: nox.Session) -> None:
        # `--engine locust` of the soak; whoever does without is spared its packages.
        more = {"locust", "--engine=locust"} & {*session.posargs}
        run_script(session, "run_gate", name, groups=("locust",) if more else ())

    title = GATE_TITLE.search((GATES / f"{name}.yaml").read_text("utf-8"))
    session_of_gate.__doc__ = f"Run {name}: {title[1].lower() if title else 'see its file'}."
    nox.session(name=name, tags=["gate"])(session_of_gate)


for path in sorted(GATES.glob("gate[0-9]*.yaml")):
    gate_session(path.stem)


@nox.session
def status(session: nox.Session) -> None:
    """Show what runs now, what a killed run left, and the last verdicts."""
    run_script(session, "show_status")


@nox.session
def up(session: nox.Session) -> None:
    """Run the stack in the foreground until Ctrl-C."""
    run_script(session, "run_stack")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure our overhead against the bare floor, in one run; writes benchmarks.json."""
    run_script(session, "run_benchmarks")


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Run the reference system in containers with live reload, until Ctrl-C."""
    folder = REFERENCE / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in SECRET_NAMES:
        if not (folder / name).exists():
            # The user of the containers has to read it; the folder keeps others out.
            (folder / name).write_text(secrets.token_urlsafe(32), "utf-8")
            (folder / name).chmod(0o444)
    compose(session, "up", "--build")


@nox.session(name="dev-logs", venv_backend="none")
def dev_logs(session: nox.Session) -> None:
    """Follow the logs of the development containers."""
    compose(session, "logs", "--follow", "--tail=100")


@nox.session(venv_backend="none")
def build(session: nox.Session) -> None:
    """Build the image of the reference system."""
    compose(session, "build")


def compose(session: nox.Session, *arguments: str) -> None:
    """Run docker compose on the development files of the reference system."""
    files = ["--file", "compose.yaml", "--file", "compose.override.yaml"]
    session.chdir(REFERENCE)
    session.run(
        *("docker", "compose", *files, "--profile", "dev", *arguments, *session.posargs),
        external=True,
        interrupt_timeout=60,
    )


@nox.session
def wheels(session: nox.Session) -> None:
    """Fill the wheel folder from the lock, by hash, for builds without a network."""
    run_script(session, "fetch_wheels")


@nox.session(name="compare-images")
def compare_images(session: nox.Session) -> None:
    """Compare the content of two images: `nox -s compare-images -- FIRST SECOND`."""
    run_script(session, "compare_images")


def run_tests(session: nox.Session, marks: str, *paths: str) -> None:
    """Run the tests with these marks; none selected is a failure of pytest's own.

    Arguments of the caller: one run, one test at a time. Else two: modules side by side, then
    one by one what needs the ports 7000 to 7060 or looks at all that the engine has.
    """
    install(session, "scripts", "services", "test", "locust", "hyperscan")
    if session.posargs or "not stack" in marks or " stack" in marks:
        session.run("pytest", "-m", marks, *session.posargs, *paths)
        return
    side_by_side = ("-n", os.environ.get("PROOF_PACK_TEST_WORKERS", "3"), "--dist=loadfile")
    session.run("pytest", *side_by_side, "-m", f"({marks}) and not stack", *paths)
    session.run("pytest", "-m", f"({marks}) and stack", *paths)


@nox.session(tags=["check"])
def test(session: nox.Session) -> None:
    """Run every test that needs neither Docker nor the tools of `security`."""
    run_tests(session, f"not ({NEEDS_MORE})")


@nox.session(name="test-unit", tags=["check"])
def test_unit(session: nox.Session) -> None:
    """Run the unit tests: what starts no system and no browser, without the other kinds."""
    kinds = "system or stack or browser or slow or properties or metamorphic or fuzzing"
    run_tests(session, f"not ({NEEDS_MORE} or {kinds})")


@nox.session(name="quick-test", tags=["check"])
def quick_test(session: nox.Session) -> None:
    """Run the tests of the modules that judge and verify, in less than a minute."""
    session.env["HYPOTHESIS_PROFILE"] = "quick"
    marks = f"not ({NEEDS_MORE} or stack or system or browser or slow)"
    run_tests(session, marks, *(f"tests/{name}" for name in QUICK_FOLDERS))


@nox.session(name="test-compose", tags=["check"])
def test_compose(session: nox.Session) -> None:
    """Run the tests that need a Docker engine."""
    run_tests(session, "docker")


@nox.session(tags=["check"])
def mutation(session: nox.Session) -> None:
    """Change the modules that judge and verify, one place at a time: do tests notice?"""
    install(session, "scripts", "services", "test", "mutation")
    session.run("python", "scripts/measure_mutants.py", *session.posargs)


@nox.session(name="scan-secrets", tags=["check"])
def scan_secrets(session: nox.Session) -> None:
    """Find secrets in this checkout and its history, or in what is named: files, folders, -."""
    known = str(ROOT / "scripts/rules/secrets_of_this_checkout.toml")
    everything = (str(ROOT), "--history", "--config", known)
    run_script(session, "scan_secrets", *(() if session.posargs else everything))


@nox.session(tags=["check"])
def security(session: nox.Session) -> None:
    """Analyse the code: bandit, semgrep with local rules, known vulnerabilities, licences.

    Inconclusive means that the vulnerability service could not be asked: the session is
    skipped then, which breaks no build without a network and is no pass (docs/adr/0007).
    """
    install(session, "security", lock=SECURITY_LOCK)
    session.install("--constraint", str(LOCK), "uv")
    locked = str(Path(session.create_tmp()) / "locked")
    everything = [name for name in PROJECT["dependency-groups"] if name != "security"]
    session.run("uv", "venv", "--quiet", "--clear", locked)
    session.run(
        *("uv", "pip", "install", "--quiet", "--python", locked, "--constraint", str(LOCK)),
        *nox.project.dependency_groups(PROJECT, *everything),
    )
    audit = ("python", "scripts/audit_code.py", "--environment", locked)
    try:
        session.run(*audit, *session.posargs)
    except nox.command.CommandFailed as problem:
        if problem.reason == "Returned code 2":
            session.skip("INCONCLUSIVE, not passed: see static_analysis.json")
        raise


@nox.session(name="test-tools", tags=["check"])
def test_tools(session: nox.Session) -> None:
    """Prove that each tool of `security` finds a planted fault."""
    install(session, "security", lock=SECURITY_LOCK)
    session.run("pytest", "-m", "tools", "tests/analysis", *session.posargs)


@nox.session(tags=["check"])
def schema(session: nox.Session) -> None:
    """Check every schema, and every data file against its schema."""
    run_script(session, "validate_schemas")


@nox.session(name="schema-validate", tags=["check"])
def schema_validate(session: nox.Session) -> None:
    """Check what `schema` checks: also that a changed contract has a new version (G7)."""
    session.notify("schema")


@nox.session(default=False)
def ci(session: nox.Session) -> None:
    """Run what decides about a change where there is no Docker."""
    for name in ("lint", "typecheck", "schema", "test"):
        session.notify(name)


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    install(session, "lint")
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(tags=["check"])
def typecheck(session: nox.Session) -> None:
    """Check types: mypy --strict over scripts, services, tests and this file."""
    install(session, "scripts", "services", "test", "locust", "lint", "bootstrap")
    session.run("mypy", *session.posargs)


@nox.session(name="format", default=False)
def format_code(session: nox.Session) -> None:
    """Apply ruff's fixes and formatting."""
    install(session, "lint")
    session.run("ruff", "check", "--fix", ".")
    session.run("ruff", "format", ".")


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Resolve all groups into constraints.txt, and the services' part of it into their lock.

    The security tools have a lock of their own: semgrep's pins would hold the others back.
    """
    session.install("--constraint", str(LOCK), "uv")
    # An index of this machine must not leak into the locks: no URL is written.
    options = ["--quiet", "--universal", "--python-version=3.11", "--generate-hashes"]
    options += ["--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    names = [name for name in PROJECT["dependency-groups"] if name != "security"]
    groups = [f"--group={name}" for name in names]
    services = ["--group=services", f"--constraint={LOCK}", f"--output-file={SERVICES_LOCK}"]
    os.chdir(ROOT)
    groups.append(f"--output-file={LOCK}")
    session.run("uv", "pip", "compile", *options, *groups, *session.posargs)
    session.run("uv", "pip", "compile", *options, *services)
    security = ["--group=security", f"--output-file={SECURITY_LOCK}"]
    session.run("uv", "pip", "compile", *options, *security)
    lock_image_tools(session, options)


def lock_image_tools(session: nox.Session, options: list[str]) -> None:
    """Lock what the image's tool stage adds, and note the services' lock in compose.yaml."""
    folder = SERVICES_LOCK.parent
    # As seen from there: the comments of the lock name them, and no folder of this machine.
    locks = (os.path.relpath(path, folder) for path in (LOCK, SECURITY_LOCK, SERVICES_LOCK))
    known = [f"--constraint={Path(path).as_posix()}" for path in locks]
    wanted = ["requirements-ci.in", *known, "--output-file=requirements-ci.txt"]
    os.chdir(folder)
    session.run("uv", "pip", "compile", *options, *wanted)
    digest = hashlib.sha256(SERVICES_LOCK.read_bytes()).hexdigest()
    text = (folder / "compose.yaml").read_text("utf-8")
    text = re.sub(r"(LOCK_SHA256: )[0-9a-f]{64}", rf"\g<1>{digest}", text)
    (folder / "compose.yaml").write_text(text, "utf-8")
