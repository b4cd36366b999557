"""Verifiers: `(prompts, completions, references) -> list[Verdict]`.

`text`, `answers`, `formats`, `tool_calls` and `schemas` read text on the host,
`math`, `reasoning_gym` and `code` ask other packages or run programs, `tokens`
compares token ids under jit, `ensembles` combines verifiers, `pool` survives
those that hang or crash, `adapters` takes reward functions of other
libraries, and `verdicts` turns the outcome into arrays.
"""

from rewardjax.rewards.verifiers import (
    adapters,
    answers,
    code,
    ensembles,
    formats,
    jail,
    jailed,
    math,
    parsing,
    pool,
    reasoning_gym,
    sandbox,
    schemas,
    text,
    tokens,
    tool_calls,
    verdicts,
)

__all__ = [
    "adapters",
    "answers",
    "code",
    "ensembles",
    "formats",
    "jail",
    "jailed",
    "math",
    "parsing",
    "pool",
    "reasoning_gym",
    "sandbox",
    "schemas",
    "text",
    "tokens",
    "tool_calls",
    "verdicts",
]
