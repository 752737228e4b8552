"""Bring a policy in, or an older one back: `python -m services.executor.policy --help`.

    install FOLDER    compile the policy files of FOLDER, and let them be in force
    use SHA256        let an older version be in force again
    show              how the policy stands, as JSON; exit 1 where it denies everything

The folder is POLICIES_FOLDER, or `policies` in STATE_FOLDER. The executor sees a change at
its next request; nothing has to be started anew.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from services.executor.policy.install import install, use
from services.executor.policy.store import PolicyStore
from services.executor.policy.versions import PolicyFilesError
from services.kit.settings import SettingsError, find_policies_folder, refuse_start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BAD_ARGUMENTS = 64


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Do what the first argument says."""
    if arguments in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    try:
        folder = find_policies_folder(environ)
        match list(arguments):
            case ["install", source]:
                print(install(Path(source), folder))
            case ["use", sha256]:
                print(use(folder, sha256))
            case ["show"]:
                status = PolicyStore(folder, environ.get("POLICY_SHA256", "").strip()).status()
                print(json.dumps(asdict(status)))
                return 0 if status.state == "in force" else 1
            case _:
                print("error: expected install FOLDER, use SHA256 or show", file=sys.stderr)
                return _BAD_ARGUMENTS
    except (SettingsError, PolicyFilesError) as problem:
        return refuse_start(SettingsError(str(problem)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
