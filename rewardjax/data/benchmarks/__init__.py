"""Rows of public benchmarks of reward models: readers, samples, their scores.

One reader per schema, `path -> Iterator[EvalRow]`. Files are JSON lines or
Parquet and are streamed: none has to fit into memory.
"""

from rewardjax.data.benchmarks import (
    answers,
    chains,
    judging,
    lists,
    pairs,
    probes,
    reading,
    scores,
)

__all__ = [
    "answers",
    "chains",
    "judging",
    "lists",
    "pairs",
    "probes",
    "reading",
    "scores",
]
