"""report.html in a real browser: it is drawn, complete, and nothing injected runs."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evidence.report import render

# By path: `evidence` names the package in scripts/, so this folder can't be imported from.
_samples = runpy.run_path(str(Path(__file__).with_name("test_report.py")))
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PNG = b"\x89PNG\r\n\x1a\n"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser on PATH: none of {', '.join(NAMES)}"),
]


def browse(html: str, folder: Path, *flags: str) -> str:
    """What the browser prints of a page opened from disk."""
    page = folder / "report.html"
    page.write_text(html, encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()],
        capture_output=True,
        check=True,
        timeout=120,
    )
    return done.stdout.decode("utf-8")


def size_of(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG file in pixels."""
    head = picture.read_bytes()[:24]
    assert head.startswith(PNG)
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def test_every_section_reaches_the_document(tmp_path: Path) -> None:
    dom = browse(render(_samples["sample_summary"]()), tmp_path, "--dump-dom")
    for section in _samples["SECTIONS"]:
        assert f'<section id="{section}">' in dom
    assert dom.count("<svg") > 10
    assert dom.rstrip().endswith("</html>")


@pytest.mark.parametrize("index", range(3))
def test_injected_script_does_not_run(tmp_path: Path, index: int) -> None:
    html = render(_samples["hostile_summary"](_samples["HOSTILE"][index]))
    dom = browse(html, tmp_path, "--dump-dom")
    assert "<title>failed: " in dom
    assert "<title>injected" not in dom
    assert "<script" not in dom
    assert "<img" not in dom
    assert 'id="verify"' in dom


def test_policy_stops_a_script_that_got_in(tmp_path: Path) -> None:
    """The second line of defence, tried with the first one broken on purpose."""
    hole = "<script>document.title = 'injected'</script></body>"
    html = render(_samples["sample_summary"]()).replace("</body>", hole)
    assert "<title>injected" not in browse(html, tmp_path, "--dump-dom")


def test_injection_would_be_seen_without_the_policy(tmp_path: Path) -> None:
    """The check above can turn red: the same page without its policy runs the script."""
    hole = "<script>document.title = 'injected'</script></body>"
    html = render(_samples["sample_summary"]()).replace("</body>", hole)
    open_html = html.replace("Content-Security-Policy", "X-None")
    assert "<title>injected" in browse(open_html, tmp_path, "--dump-dom")


@pytest.mark.parametrize("flags", [(), ("--blink-settings=preferredColorScheme=0",)])
def test_page_can_be_drawn(tmp_path: Path, flags: tuple[str, ...]) -> None:
    picture = tmp_path / "report.png"
    summary: dict[str, Any] = _samples["sample_summary"](200)
    browse(render(summary), tmp_path, "--window-size=900,1200", f"--screenshot={picture}", *flags)
    assert size_of(picture) == (900, 1200)
    assert picture.stat().st_size > 30_000, "an empty page is a picture of a few kilobytes"


@pytest.mark.skipif(sys.platform == "win32", reason="headless printing needs a printer there")
def test_page_prints(tmp_path: Path) -> None:
    paper = tmp_path / "report.pdf"
    browse(render(_samples["sample_summary"]()), tmp_path, f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF-")
