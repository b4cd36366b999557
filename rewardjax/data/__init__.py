"""Prompts and answers: generators, tfds builders, tokenizers, loaders.

`builders` imports tensorflow-datasets (never tensorflow), so it is not
imported here.
"""

from rewardjax.data import (
    expressions,
    jsonl,
    loader,
    pretrained_tokenizer,
    tokenizers,
    traced_integers,
    traces,
)

__all__ = [
    "expressions",
    "jsonl",
    "loader",
    "pretrained_tokenizer",
    "tokenizers",
    "traced_integers",
    "traces",
]
