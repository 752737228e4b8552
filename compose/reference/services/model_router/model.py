"""A small word model: the same prompt and seed give the same tokens on every machine.

It is a Markov chain over a fixed text. Its random numbers come from SHA-256 in counter
mode, because `random.choice` may change between Python versions and a hash can't.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL_ID = "reference-markov-1"
MAX_TOKENS = 512
BYTES_PER_PROMPT_TOKEN = 4
SHORTEST_ANSWER_TOKENS = 12
# A sentence end stops the answer in one of this many cases, once it is long enough.
STOP_ONE_IN = 4

_TEXT = """
A proof is a record that another person can check without trusting the one who made it .
A claim without a measurement is only a hope , and a measurement without a record is only a story .
The system runs , the script measures what it did , and the gate judges what was measured .
Evidence is signed so that a change can be seen , and it is dated so that an old answer can not pass
for a new one . A run that measured nothing has proved nothing , and the record says so .
The record of a failed run is evidence too , because it shows that the check can fail .
A good check has a test in which the thing that it checks is broken , and the check turns red .
The job was accepted , the job was finished , and the result in the store is the one that was sent .
When a service stops and starts again , the job is still there and it is finished once .
A reader needs two commands and a public key , and the commands come with the bundle .
The person who checks a proof brings the key , for a key that comes with the proof proves little .
"""


@dataclass(frozen=True)
class Answer:
    """What the model says to one prompt.

    Args:
        tokens: pieces of text; joined without a separator they are the answer.
        finish_reason: "stop" at a sentence end, "length" at the caller's limit.
    """

    tokens: tuple[str, ...]
    finish_reason: Literal["stop", "length"]

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.tokens)


def _successors(text: str) -> dict[str, tuple[str, ...]]:
    words = text.split()
    found: dict[str, list[str]] = {}
    # The last word leads back to the first, so that every word has a successor.
    for word, following in zip(words, [*words[1:], words[0]], strict=True):
        found.setdefault(word, []).append(following)
    return {word: tuple(following) for word, following in found.items()}


_SUCCESSORS = _successors(_TEXT)
_SENTENCE_STARTS = _SUCCESSORS["."]


def prompt_sha256(prompt: str) -> str:
    """The hash that stands for a prompt in the usage record; the prompt is not kept (C4)."""
    return hashlib.sha256(prompt.encode("utf-8")).hexdigest()


def count_prompt_tokens(prompt: str) -> int:
    """How many tokens a prompt is billed for: a token per four UTF-8 bytes, rounded up."""
    return -(-len(prompt.encode("utf-8")) // BYTES_PER_PROMPT_TOKEN)


def generate(prompt: str, seed: int, max_tokens: int) -> Answer:
    """Answer a prompt; a function of its arguments and of nothing else.

    Args:
        prompt: any text.
        seed: a whole number; another seed gives another answer.
        max_tokens: 1 to 512.
    """
    if not 1 <= max_tokens <= MAX_TOKENS:
        raise ValueError(f"max_tokens: expected 1 to {MAX_TOKENS}, got {max_tokens}")
    draws = _draws(prompt, seed)
    word = _pick(_SENTENCE_STARTS, draws)
    tokens = [word]
    while len(tokens) < max_tokens:
        if _may_stop(word, len(tokens)) and next(draws) % STOP_ONE_IN == 0:
            break
        word = _pick(_SUCCESSORS[word], draws)
        tokens.append(word if word in {".", ","} else f" {word}")
    ended = word == "."
    return Answer(tuple(tokens), "stop" if ended else "length")


def _may_stop(word: str, length: int) -> bool:
    return word == "." and length >= SHORTEST_ANSWER_TOKENS


def _pick(choices: tuple[str, ...], draws: Iterator[int]) -> str:
    return choices[next(draws) % len(choices)]


def _draws(prompt: str, seed: int) -> Iterator[int]:
    """Endless 64-bit numbers; JSON separates prompt from seed without ambiguity."""
    key = hashlib.sha256(json.dumps([prompt, seed]).encode("ascii")).digest()
    counter = 0
    while True:
        block = hashlib.sha256(key + counter.to_bytes(8, "big")).digest()
        for start in range(0, len(block), 8):
            yield int.from_bytes(block[start : start + 8], "big")
        counter += 1
