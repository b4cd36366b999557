"""Tables of benchmarks of chains."""

from collections.abc import Sequence

import jax
import numpy as np

from rewardjax.diagnostics import sections
from rewardjax.diagnostics.benchmarks import arrays
from rewardjax.diagnostics.benchmarks.arrays import Tables
from rewardjax.types import ScoredRow


@jax.jit
def _found(scores, mask, labels, threshold) -> sections.ProcessF1:
  first = sections.first_below(scores, mask, threshold=threshold)
  return sections.process_bench_f1(first, labels)


@arrays.exactly
def process_bench(
    rows: Sequence[ScoredRow], *, threshold: float = 0.5
) -> Tables:
  """F1 of finding the first error, or that there is none, per subset.

  A step below the threshold is called wrong. The score is the plain mean of
  the F1 of the subsets. "best" is the score at the best threshold among the
  quantiles of the scores: chosen on these rows, so no estimate for others.

  References:
    Zheng et al., "ProcessBench: Identifying Process Errors in Mathematical
      Reasoning", 2024, arXiv:2412.06559.
  """
  subsets = {}
  for name, found in arrays.grouped(rows, lambda row: row.subset).items():
    scores, right, mask = arrays.padded(found)
    sizes = np.sum(mask, axis=-1)
    labels = np.where(right < sizes, right, -1)
    subsets[name] = scores, mask, labels

  def at(threshold):
    return {
        name: _found(*parts, threshold) for name, parts in subsets.items()
    }

  f1 = lambda found: arrays.mean({k: float(x.f1) for k, x in found.items()})
  every = np.concatenate([row.scores for row in rows])
  tried = np.unique(np.quantile(every, np.linspace(0, 1, 21)))
  best = max(tried, key=lambda x: f1(at(float(x))))
  table = {
      name: {
          "score": float(found.f1),
          "erroneous": float(found.erroneous),
          "correct": float(found.correct),
          "rows": int(subsets[name][2].size),
      }
      for name, found in at(threshold).items()
  }
  overall = {
      "score": f1(at(threshold)),
      "threshold": float(threshold),
      "best": f1(at(float(best))),
      "best threshold": float(best),
  }
  return {"overall": {"ProcessBench": overall}, "subsets": table}
