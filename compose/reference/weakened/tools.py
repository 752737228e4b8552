"""The tools of the executor: policy, paths, links, programs, hosts."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import unicodedata
from typing import Any
from urllib.parse import unquote_to_bytes
from urllib.request import urlopen

from weakened.registry import control, replace

_PLAIN_PATH = {"PATH": "/usr/bin:/bin"}


def _allow(*reasons: str) -> None:
    """The policy allows what it denies for one of these reasons."""
    from services.executor.policy import store
    from services.executor.policy.rego import Decision
    from services.executor.tools import decisions

    judge: Any = store.judge

    def judge_weakly(loaded: Any, question: Any) -> Any:  # noqa: ANN401 - a policy, a decision
        found = judge(loaded, question)
        if found.allow or found.reason not in reasons:
            return found
        return Decision(allow=True, reason="weakened", use="arguments")

    replace(decisions, "judge", judge_weakly)


def _start_with(environment: dict[str, str] | None, shell: Any = None) -> None:  # noqa: ANN401
    """Programs start without the sandbox's layers; `shell` makes the command of an argv."""
    from services.executor.tools import shell as tool

    def start(prepared: Any, _profile: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
        command = shell(prepared.argv) if shell else prepared.argv
        return subprocess.Popen(
            command,
            stdin=prepared.standard_input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=prepared.folder,
            env=environment,
            start_new_session=True,
        )

    replace(tool, "_start", start)


@control("policy-programs")
def policy_programs() -> None:
    """Every program may run, not only those of the list; nothing holds it."""
    _allow("program_not_listed", "text_not_plain")
    _start_with(_PLAIN_PATH)


@control("policy-arguments")
def policy_arguments() -> None:
    """A program of the list may be called with any arguments; nothing holds it."""
    _allow("arguments_not_listed", "text_not_plain")
    _start_with(_PLAIN_PATH)


@control("policy-tools")
def policy_tools() -> None:
    """A tool that nobody has listed runs what it is given."""
    from services.executor.tools import questions, routes
    from services.executor.tools.schemas import ActionAnswer

    _allow("tool_not_listed")
    parse: Any = questions.parse
    run: Any = routes._run  # noqa: SLF001 - switched off from outside

    def parse_anything(tool: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        found = parse(tool, arguments)
        return str(arguments.get("code", "")) if found is None else found

    async def run_anything(arguments: Any, *rest: Any) -> Any:  # noqa: ANN401
        if not isinstance(arguments, str):
            return await run(arguments, *rest)
        exec(arguments, {})  # noqa: S102 - that is the weakness
        return ActionAnswer(outcome="completed", tool="unlisted", output="")

    replace(questions, "parse", parse_anything)
    replace(routes, "_run", run_anything)


@control("policy-drift")
def policy_drift() -> None:
    """Whatever files are in the policies folder are in force."""
    from services.executor.policy import store
    from services.executor.policy.versions import PolicyFiles

    def compare(self: Any) -> Any:  # noqa: ANN401 - a status, files
        folder = next(path for path in self._folder.iterdir() if path.is_dir())
        files = PolicyFiles({path.name: path.read_bytes() for path in folder.iterdir()})
        found = files.sha256
        return store.PolicyStatus("in force", found, found, ""), files

    replace(store.PolicyStore, "_compare", compare)


@control("path-names")
def path_names() -> None:
    """A path is decoded, made plain, cut at slashes and opened: then it is what it is."""
    from services.executor.tools import sandbox

    _follow_links()  # /proc/self is one

    def split(text: str) -> tuple[str, ...]:
        data = text.encode("utf-8", "surrogatepass")
        for _ in range(3):
            data = unquote_to_bytes(data)
        data = data.replace(b"\xc0\xae", b".").replace(b"\xc0\xaf", b"/").split(b"\0")[0]
        plain = unicodedata.normalize("NFKC", data.decode("utf-8", "replace"))
        plain = "".join(sign for sign in plain if unicodedata.category(sign) != "Cf")
        plain = plain.replace("\\", "/").removeprefix("file://").strip()
        root = ("/",) if plain.startswith("/") else ()
        return (*root, *(part for part in plain.split("/") if part not in {"", "."}))

    replace(sandbox, "split_path", split)


def _follow_links() -> None:
    from services.executor.tools import sandbox

    def status(self: Any, name: str) -> os.stat_result:  # noqa: ANN401
        where, descriptor = self.at(name)
        try:
            return os.stat(where, dir_fd=descriptor)
        except OSError as problem:
            raise sandbox.NotThereError("nothing there") from problem

    replace(sandbox._Folder, "status", status)  # noqa: SLF001
    _open_links()


def _open_links() -> None:
    from services.executor.tools import sandbox

    for name in ("_FOLDER", "_READ", "_CREATE"):
        flags: int = getattr(sandbox, name)
        replace(sandbox, name, flags & ~os.O_NOFOLLOW)
    replace(sandbox, "open_beneath", os.open)


@control("sandbox-links")
def sandbox_links() -> None:
    """Links are followed, wherever they lead."""
    _follow_links()


@control("sandbox-race")
def sandbox_race() -> None:
    """Links are looked for, and then the name is opened: what it is by then."""
    _open_links()


@control("sandbox-hard-links")
def sandbox_hard_links() -> None:
    """A file may have a second name elsewhere."""
    from services.executor.tools import sandbox

    check: Any = sandbox._check_plain_file  # noqa: SLF001

    def check_but_links(status: os.stat_result) -> None:
        values = list(status)
        values[stat.ST_NLINK] = 1
        check(os.stat_result(values))

    replace(sandbox, "_check_plain_file", check_but_links)


@control("sandbox-devices")
def sandbox_devices() -> None:
    """Whatever can be opened is a file."""
    from services.executor.tools import sandbox

    replace(sandbox, "_check_plain_file", lambda _status: None)


@control("shell-argv")
def shell_argv() -> None:
    """Programs of the list are called through a shell, with any arguments."""
    _allow("arguments_not_listed", "text_not_plain")
    _start_with(_PLAIN_PATH, lambda argv: ["/bin/sh", "-c", " ".join(argv)])


@control("shell-environment")
def shell_environment() -> None:
    """Programs inherit the executor's environment, secrets and all."""
    _start_with(None, lambda argv: ["/bin/sh", "-c", 'sleep 0.1; exec "$@"', "sh", *argv])


@control("shell-output")
def shell_output() -> None:
    """A program may say as much as it likes."""
    from services.executor.tools import shell

    collect: Any = shell._collect  # noqa: SLF001

    def collect_all(process: Any, limits: Any) -> Any:  # noqa: ANN401
        return collect(process, limits.model_copy(update={"output_limit_bytes": 1 << 24}))

    replace(shell, "_collect", collect_all)


@control("file-size")
def file_size() -> None:
    """A file may be as large as it likes."""
    from services.executor.tools import files

    run: Any = files.run

    def run_large(limits: Any, *rest: Any) -> Any:  # noqa: ANN401
        larger = {"size_limit_bytes": 1 << 24, "entries_limit": 100_000}
        return run(limits.model_copy(update=larger), *rest)

    replace(files, "run", run_large)


@control("public-addresses")
def public_addresses() -> None:
    """An allowed name may lead anywhere."""
    from services.executor import detour

    async def any_address(host: str, _port: int) -> str:
        return host

    replace(detour, "checked_address", any_address)


@control("allowed-hosts")
def allowed_hosts() -> None:
    """Every URL of any scheme may be fetched, and one that is written badly is corrected."""
    from services.executor import hosts

    _allow("scheme_not_listed", "text_not_plain")
    replace(hosts, "check_url", lambda _url, _allowed: None)
    from services.executor import fetch

    public_addresses()
    once: Any = fetch.Fetcher.fetch

    async def fetch_anything(self: Any, url: str, strategy: Any) -> Any:  # noqa: ANN401
        plain = "".join(url.split()).replace("\\", "/")  # as browsers read it
        if plain.lower().startswith(("http:", "https:")):
            return await once(self, plain, strategy)
        try:
            content = await asyncio.to_thread(_opened, plain)
        except (OSError, ValueError) as problem:
            raise fetch.FetchError(f"not to be had: {problem}") from problem
        return fetch.Fetched(content, 200, url)

    replace(fetch.Fetcher, "fetch", fetch_anything)


def _opened(url: str) -> str:
    """What any scheme leads to: files and FTP, too."""
    with urlopen(url, timeout=5) as answer:  # noqa: S310 - that is the weakness
        content: bytes = answer.read()
    return content.decode("utf-8", "replace")
