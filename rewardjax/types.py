"""The few records that cross from one room to another; they hold no behaviour.

Axes: B prompts, G samples of one prompt, P prompt tokens, T new tokens.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, PyTree

from rewardjax.outcomes import Status as Status
from rewardjax.outcomes import Verdict as Verdict

# A hyper-parameter: a Python number, or a traced scalar (a schedule's value).
Scalar = float | int | Float[Array, ""]


class Reward(NamedTuple):
  """A score and whether it is known; arrays of one shape.

  `valid` False means *unknown* (crash, time-out, unparsable where the rule
  says so). Such an entry takes no part in group statistics and carries no
  gradient; its `value` is arbitrary, possibly NaN, and never read as 0.
  """

  value: Float[Array, "*shape"]
  valid: Bool[Array, "*shape"]


class NoiseRates(NamedTuple):
  """How often a binary verifier errs; each broadcasts to the rewards.

  false_positive: P(observed 1 | truth 0), rho0.
  false_negative: P(observed 0 | truth 1), rho1.
  A number, or an array per verifier, per prompt `[B, 1]`, per sample `[B, G]`.
  """

  false_positive: Float[Array, "*#shape"] | float
  false_negative: Float[Array, "*#shape"] | float


class Rollouts(NamedTuple):
  """G sampled completions for each of B prompts.

  `mask` is True on every sampled token, the stop token included; tokens
  after it are padding. `log_probs` are the sampler's own (the behaviour),
  under its sampling law. `truncated` marks samples that ran out of room
  before they drew a stop token.

  Over several turns a world answers in between: `mask` is then True on the
  policy's own tokens alone, which are all that losses and statistics count,
  and `real` on the observations as well, which the policy reads.
  """

  prompts: Int[Array, "B P"]
  prompt_mask: Bool[Array, "B P"]  # padded left
  tokens: Int[Array, "B G T"]
  mask: Bool[Array, "B G T"]  # padded right
  log_probs: Float[Array, "B G T"]
  truncated: Bool[Array, "B G"]
  real: Bool[Array, "B G T"] | None = None  # None: equal to `mask`

  @property
  def read(self) -> Bool[Any, "B G T"]:
    """Tokens that exist, whoever said them: what attention reads."""
    return self.mask if self.real is None else self.real


class PreferencePairs(NamedTuple):
  """Token sequences compared by a judge; padded right."""

  chosen: Int[Array, "*batch T"]
  chosen_mask: Bool[Array, "*batch T"]
  rejected: Int[Array, "*batch T"]
  rejected_mask: Bool[Array, "*batch T"]
  pair_mask: Bool[Array, "*batch"]


class Trajectories(NamedTuple):
  """Steps of an environment, a denoising chain or a GFlowNet; T steps."""

  states: PyTree
  actions: PyTree
  mask: Bool[Array, "*batch T"]
  log_probs: Float[Array, "*batch T"]
  rewards: Float[Array, "*batch T"]


class EvalRow(NamedTuple):
  """Answers to one prompt, to be scored one by one; the right ones first.

  id: unique in its file. group: what rows share, such as an image. subset: a
  part of the benchmark. texts: whole answers, or a chain's prefixes, of which
  the first `num_correct` hold no error. meta: what else a scorer may need.
  """

  id: str
  group: str
  subset: str
  prompt: str
  texts: tuple[str, ...]
  num_correct: int
  meta: Mapping[str, Any] = {}


class ScoredRow(NamedTuple):
  """An `EvalRow` without its texts, with a score for each of them."""

  id: str
  group: str
  subset: str
  num_correct: int
  scores: tuple[float, ...]
