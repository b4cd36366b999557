"""Verifiers: `(prompts, completions, references) -> list[Verdict]`.

`text` reads answers on the host, `tokens` compares token ids under jit,
`pool` survives verifiers that hang or crash, `adapters` takes reward
functions of other libraries, and `verdicts` turns the outcome into arrays.
"""

from rewardjax.rewards.verifiers import (
    adapters,
    parsing,
    pool,
    text,
    tokens,
    verdicts,
)

__all__ = ["adapters", "parsing", "pool", "text", "tokens", "verdicts"]
