"""Measure what a service token costs: `python -m checks.measure_tokens`.

Verifying is measured with the replay store and without, in turns on the same tokens;
trust the ratio, not the microseconds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from services.kit.keyring import PublicKeys, SigningKey
from services.kit.nonces import NonceStore, Outcome
from services.kit.rotation import make_keys
from services.kit.tokens import Target, TokenSigner, TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS, EACH = 9, 2000
PATH, BODY = "/v1/completions", b"x" * 1000


class _Forgetful(NonceStore):
    """A store that knows nothing, for comparison."""

    def spend(self, nonce: bytes, issued: float, seconds: float) -> Outcome:
        del nonce, issued, seconds
        return "new"


def main() -> int:
    """Print the medians, in microseconds of processor time, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        make_keys(keys)
        signer = TokenSigner("gateway", SigningKey(keys, "gateway"))
        durable, forgetful = (
            TokenVerifier(
                "sessions", PublicKeys(keys), kind(Path(folder) / kind.__name__, "sessions")
            )
            for kind in (NonceStore, _Forgetful)
        )
        rounds = [_round(signer, durable, forgetful) for _ in range(ROUNDS)]
    issued, checked, stored = (statistics.median(part) for part in zip(*rounds, strict=True))
    ratio = statistics.median(with_store / without for _, without, with_store in rounds)
    print(f"issue                 {issued:7.0f} us")
    print(f"verify, no store      {checked:7.0f} us")
    print(f"verify, replay store  {stored:7.0f} us   ratio {ratio:.2f}")
    return 0


def _round(
    signer: TokenSigner, durable: TokenVerifier, forgetful: TokenVerifier
) -> tuple[float, float, float]:
    tokens: list[str] = []
    target = Target("POST", PATH)
    issued = _timed(lambda: tokens.append(signer.issue("sessions", "POST", PATH, BODY)))
    found = []
    for verifier in (forgetful, durable):
        rest = iter(tokens)
        found.append(_timed(lambda: verifier.verify(next(rest), target, BODY)))  # noqa: B023 - called here
    return issued, found[0], found[1]


def _timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(EACH):
        work()
    return (time.process_time() - started) / EACH * 1e6


if __name__ == "__main__":
    sys.exit(main())
