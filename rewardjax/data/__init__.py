"""Prompts and answers: generators, tfds builders, tokenizers, loaders.

`builders` imports tensorflow-datasets (never tensorflow), so it is not
imported here.
"""

from rewardjax.data import (
    curricula,
    edit_tasks,
    edits,
    expressions,
    jsonl,
    list_programs,
    loader,
    pretrained_tokenizer,
    route_tasks,
    strata,
    tokenizers,
    tool_tasks,
    traced_integers,
    traces,
    transit,
)

__all__ = [
    "curricula",
    "edit_tasks",
    "edits",
    "expressions",
    "jsonl",
    "list_programs",
    "loader",
    "pretrained_tokenizer",
    "route_tasks",
    "strata",
    "tokenizers",
    "tool_tasks",
    "traced_integers",
    "traces",
    "transit",
]
