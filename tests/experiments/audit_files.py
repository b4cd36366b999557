"""Answers with known errors, for the tests of `experiments.audit_verifier`."""

import json

import numpy as np

from experiments.audit_options import Options

RATES = {"add": (0.05, 0.1), "multiply": (0.05, 0.5), "gcd": (0.3, 0.1)}


def flipped(rates=None, *, num_prompts=100, num_samples=4, seed=0):
  """Rows whose verdicts are the labels, flipped at the rates of the group."""
  draw = np.random.default_rng(seed)
  rows = []
  for group, (false_positive, false_negative) in (rates or RATES).items():
    for i in range(num_prompts):
      for k in range(num_samples):
        label = bool(draw.random() < 0.5)
        rate = false_negative if label else false_positive
        rows.append(
            dict(
                prompt=f"{group} {i}",
                completion=str(draw.integers(100)),
                reference=str(i),
                group=group,
                sample=k,
                label=label,
                verdict=int(label ^ (draw.random() < rate)),
                step=i,
            )
        )
  return rows


def exact(cells, **fields):
  """Rows of one prompt each: {(label, verdict): how many}."""
  return [
      dict(prompt=f"{truth}{verdict}{i}", label=truth, verdict=verdict) | fields
      for (truth, verdict), count in cells.items()
      for i in range(count)
  ]


def options(tmp_path, rows, **changes) -> Options:
  """The options that read these rows from a file."""
  path = tmp_path / "answers.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return Options(answers=str(path), **changes)
