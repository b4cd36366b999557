"""Answers that are listed and judged beforehand, so that learning compiles."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from experiments import on_policy
from experiments.noise_studies import models, speller
from rewardjax.data import curricula
from rewardjax.policies import decoding
from rewardjax.policies.constraints import TokenConstraint
from rewardjax.recipes import policy_gradient
from rewardjax.rewards.verifiers import verdicts
from rewardjax.search import tries
from rewardjax.types import Reward, Rollouts, Status


class Judged(NamedTuple):
  """What a verifier says of every answer to every question.

  trie: the listed answers.
  scores, right: `[Q, C + 1]`; the last column is of all other answers.
  """

  trie: tries.Trie
  scores: Float[Array, "Q C1"]
  right: Bool[Array, "Q C1"]

  @property
  def constraint(self) -> TokenConstraint:
    """Allows the listed answers and nothing else."""
    return models.inside(self.trie)

  def look_up(self, questions: Int[Array, " B"], rollouts: Rollouts):
    """Scores and whether each is right, `[B, G]`."""
    found = tries.items_of(self.trie, rollouts.tokens, rollouts.mask)
    # -1, what is not listed, reads the last column.
    place = questions[:, None], found
    return self.scores[place], self.right[place]


def judge(
    verifier: Callable[..., list],
    answers: Sequence[Sequence[int]],
    texts: Sequence[Sequence[str]],
    references: Sequence[str],
    *,
    vocab_size: int,
) -> Judged:
  """Asks a text verifier once about every pair of question and answer.

  Args:
    verifier: `(prompts, completions, references) -> verdicts`.
    answers: every token row that can be read; none may begin another.
    texts: for each question what the answers say, and then what any other
      row says.
    references: one per question.
    vocab_size: of the tokens.
  """
  shape = len(references), len(answers) + 1
  said = [text for row in texts for text in row]
  asked = [reference for reference in references for _ in range(shape[1])]
  found = verifier([""] * len(said), said, asked)
  right = np.array([x.status == Status.CORRECT for x in found])
  return Judged(
      tries.prefix_trie(answers, vocab_size=vocab_size),
      verdicts.to_reward(found, shape, unparsable=0.0).value,
      jnp.asarray(right).reshape(shape),
  )


def learn(
    key: Key[Array, ""],
    params: speller.Speller,
    judged: Judged,
    questions: models.Text,
    chances: Callable[[Int[Array, ""]], Float[Array, " Q"]],
    measure: Callable[..., Any],
    *,
    batch_size: int,
    group_size: int,
    readable: bool = False,
    **steps,
) -> Any:
  """GRPO of a speller whose answers end with token 0; what was measured.

  Args:
    key: consumed.
    params: at the start.
    judged: rewards by question and answer.
    questions: one row each.
    chances: step -> how likely each question is drawn.
    measure: `(params, right [B, G]) -> pytree` after each step.
    batch_size: B questions a step.
    group_size: G answers to each.
    readable: whether only listed answers can be said.
    **steps: see `on_policy.train`.
  """
  constraint = judged.constraint if readable else None

  def collect(key, params, step):
    row_key, key = jax.random.split(key)
    rows = curricula.draw_sources(row_key, chances(step), batch_size)
    rollouts = decoding.sample(
        key, speller.decoder(), params, *questions.rows(rows),
        num_samples=group_size, max_new_tokens=params.bias.shape[0],
        stop_tokens=(0,), constraint=constraint,
    )
    scores, right = judged.look_up(rows, rollouts)
    return rollouts, Reward(scores, jnp.ones(right.shape, bool)), right

  def loss(params, batch):
    log_probs = models.score(speller.logits, params, batch[0], constraint)
    return policy_gradient.grpo(log_probs, *batch[:2])[0]

  found = lambda params, batch: measure(params, batch[2])
  return on_policy.train(key, params, collect, loss, found, **steps)[1]
