"""Episodes of several turns in `experiments.rlvr`: verdicts and rewards.

`config.task.turns` switches them on, in tasks that are worlds. The verifier
is the world: whether the episode succeeded. `config.shaping.turns` says when
the policy is paid. Axes: B prompts, G samples, T tokens, K turns.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments import verifying, worlds
from experiments.choices import choose
from experiments.rlvr_policy import Setup
from experiments.tasks import Problems
from rewardjax.advantages import placement
from rewardjax.core import checks
from rewardjax.shaping import turns
from rewardjax.types import Reward, Rollouts

# Tasks that are worlds.
WORLDS = ("quests",)
# When the policy is paid for success: at the end, or by what turns gain.
REWARDS = ("sparse", "dense")
# Fields that an episode of several turns makes no sense of, and what they
# must be then.
_PLAIN = {
    "task.answer_mark": "",
    "task.rewording": "",
    "verifier.name": "tokens",
    "verifier.trusted": "tokens",
    "sampling.search": "none",
    "sampling.halvings": 0,
    "sampling.mass_balance": False,
    "beside.form.weight": 0,
    "beside.format.weight": 0,
    "beside.likelihood.weight": 0,
    "beside.majority.weight": 0,
    "steps.scorer": "none",
    "shaping.overlong_buffer": 0,
}
# What dense rewards are no part of: they need to know who succeeded.
_HONEST = {
    "reward.name": "verifier",
    "noise.name": "none",
    "correction.name": "none",
    "shaping.tiers": 0,
}


def judge(setup: Setup, problems: Problems, rollouts: Rollouts):
  """What tokens say of samples; pure.

  Returns:
    Success `[B, G]`, and what each turn gained `[B, G, K]`, known where it
    took place; None for samples of one turn.
  """
  if setup.world is None:
    verdict = verifying.match_tokens(
        problems, rollouts, setup.stop_tokens, setup.mark
    )
    return verdict, None
  found = setup.world.replay(problems.start, rollouts.tokens)
  exists = jnp.any(rollouts.mask, axis=-1)
  verdict = Reward(found.success.astype(jnp.float32), exists)
  return verdict, Reward(found.gained, found.alive & exists[..., None])


def paid(config, seen, gained: Reward | None) -> Float[Array, "B G K"] | None:
  """What each turn is paid for; None if all is paid at the end."""
  if config.shaping.turns != "dense":
    return None
  success = seen.observed.value > 0.5
  most = float(worlds.sizes_of(config.task).length)
  return turns.dense_turn_reward(
      gained.value,
      success,
      jnp.full(success.shape, most),
      gained.valid,
  )


def early(paid, rollouts: Rollouts) -> Float[Array, "B G T"] | None:
  """What turns are paid for `[B, G, K]`, on the actions that earned it."""
  if paid is None:
    return None
  length, num_turns = rollouts.mask.shape[-1], paid.shape[-1]
  ids = jnp.arange(length) // (length // num_turns)
  ids = jnp.broadcast_to(ids, rollouts.mask.shape)
  return placement.step_end(paid, ids, rollouts.mask)


def metrics(gained: Reward | None) -> dict[str, Array]:
  """How many turns an episode takes, and how many of them gain something."""
  if gained is None:
    return {}
  number = jnp.sum(gained.valid, axis=-1).astype(jnp.float32)
  return {
      "turns": jnp.mean(number),
      "gained": jnp.mean(jnp.sum(gained.value, axis=-1)),
  }


def check(config) -> None:
  """Raises ValueError, naming the field, unless the turns make sense."""
  options = config.task
  choose("shaping.turns", dict.fromkeys(REWARDS), config.shaping.turns)
  if options.name in WORLDS:
    _check_world(config)
    return
  if options.turns:
    raise ValueError(
        "config.task.turns must be 0 unless config.task.name is one of "
        f"{', '.join(WORLDS)}, got {options.turns}."
    )
  if config.shaping.turns != "sparse":
    raise ValueError(
        "config.shaping.turns must be 'sparse' for samples of one turn, got "
        f"{config.shaping.turns!r}."
    )


def _check_world(config) -> None:
  options, sizes = config.task, worlds.sizes_of(config.task)
  where = "task.quests."
  bounds = {f"{where}{k}": x for k, x in sizes._asdict().items()}
  checks.at_least("config", 1, **bounds)
  checks.within("config", 1, 5, **{f"{where}width": sizes.width})
  checks.within("config", 1, sizes.objects, **{f"{where}length": sizes.length})
  most = {"task.turns": options.turns}
  checks.at_least("config", sizes.most_turns, **most)  # that may be needed
  length = options.turns * worlds.QUEST_TURN
  if options.answer_length != length:
    raise ValueError(
        f"config.task.answer_length must be {length}, an action and two tokens "
        f"that answer it for each of config.task.turns {options.turns}; got "
        f"{options.answer_length}."
    )
  if len(options.kinds) != 1:
    raise ValueError(
        "config.task.kinds must hold one name for config.task.name "
        f"{options.name!r}, got {tuple(options.kinds)}."
    )
  if config.reward.name not in ("verifier", "random", "inverted"):
    raise ValueError(
        "config.reward.name must be one of verifier, random, inverted over "
        f"several turns, got {config.reward.name!r}."
    )
  _require(config, _PLAIN, f"config.task.name {options.name!r}")
  if config.shaping.turns == "dense":
    _require(config, _HONEST, "config.shaping.turns 'dense'")


def _require(config, fields: dict, reason: str) -> None:
  for field, wanted in fields.items():
    group, *rest = field.split(".")
    found = config[group]
    for name in rest:
      found = found[name]
    if found != wanted:
      raise ValueError(
          f"config.{field} must be {wanted!r} with {reason}, got {found!r}."
      )
