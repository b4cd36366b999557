"""Prompts and answers: generators, tfds builders, tokenizers, loaders.

`builders` imports tensorflow-datasets (never tensorflow), so it is not
imported here.
"""

from rewardjax.data import (
    benchmarks,
    curricula,
    edit_tasks,
    edits,
    expressions,
    hulls,
    jsonl,
    list_programs,
    loader,
    pretrained_tokenizer,
    references,
    route_tasks,
    steps,
    strata,
    tokenizers,
    tool_tasks,
    traced_integers,
    traces,
    transit,
)

__all__ = [
    "benchmarks",
    "curricula",
    "edit_tasks",
    "edits",
    "expressions",
    "hulls",
    "jsonl",
    "list_programs",
    "loader",
    "pretrained_tokenizer",
    "references",
    "route_tasks",
    "steps",
    "strata",
    "tokenizers",
    "tool_tasks",
    "traced_integers",
    "traces",
    "transit",
]
