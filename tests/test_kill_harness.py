"""kill -9 of a proof at 20 random moments: the next command leaves nothing behind (issue 2)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import check_prerequisites
import pytest
import run_proof_pack
from fakes.system import write_stack

from evidence.public_key import load_public_key
from evidence.verify import verify_bundle
from stack.load import load_stack
from stack.ports import local_ports, port_is_free

MOMENTS = 20


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_nothing_is_left_and_nothing_half_written_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = load_stack(write_stack(tmp_path), {})
    output, moments = tmp_path / "out", random.Random(20)  # noqa: S311 - moments, not secrets
    options = ["--stack", str(stack.file), "--output-dir", str(output)]
    proof = [sys.executable, str(Path(run_proof_pack.__file__)), *options, "--poll-seconds", "0.1"]
    proof += ["--jobs", "30"]
    begun = time.monotonic()
    subprocess.run(proof, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    # How long one takes is this machine's, now: the moments lie all over it.
    longest_seconds = time.monotonic() - begun
    reached = set()
    for _ in range(MOMENTS):
        process = subprocess.Popen(
            proof, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        time.sleep(moments.uniform(0.05, longest_seconds))
        process.kill()
        said, _ = process.communicate()
        reached.add(said.count("\n"))
        check_prerequisites.main(options)
        assert all(map(port_is_free, local_ports(stack.services).values()))
        # On a busy machine the first kill may come before any folder is made.
        assert [*tmp_path.glob("cache/state/*"), *tmp_path.glob("cache/runs/*")] == []
        assert [*output.glob(".*")] == []
    capsys.readouterr()
    assert len(reached) > 2, "all kills fell into the same step"
    # What did get its final name was complete before the kill.
    for bundle in output.iterdir():
        key = load_public_key(tmp_path / "config" / "signing-key.pub")
        assert verify_bundle(bundle, key).refusals == []
