"""common.cli: exit codes, one-line errors, signals."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common import cli

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def exit_code_of(problem: BaseException) -> int:
    def main() -> int:
        raise problem

    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (cli.ScriptError("x"), 2),
        (cli.ScriptError("x", 4), 4),
        (cli.UsageError("x"), 64),
        (cli.ConfigurationError("x"), 78),
        (KeyboardInterrupt(), 130),
        (ModuleNotFoundError("no", name="rich"), 78),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 2),
    ],
)
def test_expected_trouble_is_one_line_with_its_code(
    problem: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of(problem) == code
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_a_bug_keeps_its_traceback_and_never_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(ZeroDivisionError("planted")) == cli.Exit.INCONCLUSIVE
    assert "ZeroDivisionError: planted" in capsys.readouterr().err


def test_another_os_error_is_a_bug_with_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(OSError(errno.EIO, "Input/output error")) == cli.Exit.INCONCLUSIVE
    assert "Traceback" in capsys.readouterr().err


def test_a_line_break_in_a_message_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code_of(cli.ScriptError("two\nlines"))
    assert capsys.readouterr().err == "error: two lines\n"


@pytest.mark.parametrize("text", ["0", "-3", "x", "", "1.5", "1000001"])
def test_positive_int_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number"):
        cli.positive_int(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x"])
def test_positive_float_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number above 0"):
        cli.positive_float(text)


def test_abbreviated_options_are_refused() -> None:
    parser = cli.make_parser("doc")
    parser.add_argument("--output-dir")
    with pytest.raises(cli.UsageError, match="--help"):
        parser.parse_args(["--output", "x"])


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_end_a_script_with_130(name: str) -> None:
    # Under nohup these tests inherit an ignored SIGHUP, which scripts then leave ignored.
    code = (
        f"import signal, time; signal.signal(signal.{name}, signal.default_int_handler); "
        "from common.cli import run; print('up', flush=True); run(lambda: time.sleep(60) or 0)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=10)
    assert process.returncode == cli.Exit.INTERRUPTED
    assert said.count("\n") == 1


def test_a_signal_does_not_break_an_uninterrupted_block() -> None:
    with cli.uninterrupted():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
