"""Verifiers: `(prompts, completions, references) -> list[Verdict]`.

`text`, `answers`, `formats`, `tool_calls` and `schemas` read text on the host,
`math`, `reasoning_gym` and `code` ask other packages or run programs, `tokens`
compares token ids under jit, `ensembles` combines verifiers, `pool` survives
those that hang or crash, `adapters` takes reward functions of other
libraries, `scores` makes verdicts of what a function returned, and `verdicts`
turns them into arrays.

Modules are imported on first use, and only `tokens` and `verdicts` need JAX: a
worker of a pool starts without it.
"""

from rewardjax import lazy

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
    "scores",
    "text",
    "tokens",
    "tool_calls",
    "verdicts",
]

__getattr__, __dir__ = lazy.attach(__name__, __all__)
