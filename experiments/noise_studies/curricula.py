"""Studies of credit and curricula: what to learn from, and which step of it.

Each function maps the fields of its config to a `Study`; see `noise_verdicts`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import bandits as arms
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.advantages import group
from rewardjax.data import curricula
from rewardjax.environments import bandits, ladder
from rewardjax.reward_models import decomposition, factors
from rewardjax.training import teaching


def lare(
    *, seed, num_seeds, length, dimensions, episodes, sources, least
) -> Study:
  """Step rewards from returns: raw observations, factors, equal shares.

  The true reward is the first factor less twice the second.
  """

  def run(num, key):
    obs = jax.random.normal(key, (num, length, dimensions))
    known = factors.apply_factors(sources, obs, jnp.zeros((num, length, 1)))
    reward = known[..., 0] - 2 * known[..., 1]
    returns = jnp.sum(reward, axis=1)
    shared = decomposition.match_returns(jnp.zeros(reward.shape), returns)
    guesses = {
        "raw": obs @ decomposition.fit_linear(obs, returns),
        "factors": known @ decomposition.fit_linear(known, returns),
        "uniform": shared,
    }
    return {
        name: jnp.corrcoef(x.ravel(), reward.ravel())[0, 1]
        for name, x in guesses.items()
    }

  keys = seed_keys(seed, num_seeds)
  found = {
      num: jax.device_get(jax.jit(jax.vmap(functools.partial(run, num)))(keys))
      for num in episodes
  }
  few = np.mean(found[min(episodes)]["factors"])
  return Study(
      "Return decomposition: factors against raw observations",
      f"Correlation of factors above {least:g} with {min(episodes)} episodes",
      bool(few > least),
      [
          mean_row(f"{name}, {num} episodes", "correlation", x)
          for num, all_found in found.items()
          for name, x in all_found.items()
      ],
      {},
  )


def dump_curriculum(
    *,
    seed,
    num_seeds,
    chances,
    prompts_per_source,
    num_arms,
    batch_size,
    group_size,
    num_steps,
    learning_rate,
    window,
    temperature,
    checked,
    margin,
) -> Study:
  """GRPO where sources differ in difficulty, drawn evenly or by a bandit.

  `chances` are those of a right answer at the start, one per source; accuracy
  is exact, over all prompts of all sources. `checked` are two steps.
  """
  chance = jnp.asarray(chances)
  num_sources = len(chances)

  def start_logits():
    right = jnp.log(chance) - jnp.log1p(-chance) + jnp.log(num_arms - 1)
    rows = jnp.zeros((num_sources, num_arms)).at[:, 0].set(right)
    return jnp.repeat(rows, prompts_per_source, axis=0)

  def run(adaptive, key):
    def step(carry, key):
      logits, state = carry
      source_key, item_key, draw_key = jax.random.split(key, 3)
      weights = jnp.full(num_sources, 1 / num_sources)
      if adaptive:
        weights = curricula.ucb_weights(state, temperature=temperature)
      sources = curricula.draw_sources(source_key, weights, batch_size)
      items = jax.random.randint(
          item_key, (batch_size,), 0, prompts_per_source
      )
      rows = sources * prompts_per_source + items
      uniforms = jax.random.uniform(draw_key, (batch_size, group_size))
      drawn = bandits.draw_arms(uniforms, logits[rows])
      rewards = (drawn == 0).astype(jnp.float32)
      slope = jax.grad(arms.surrogate)(
          logits[rows], drawn, group.standardized(rewards)
      )
      logits = logits.at[rows].add(-learning_rate * slope)
      size = jnp.abs(group.centered(rewards)).ravel()
      state = curricula.ucb_update(
          state, size, jnp.repeat(sources, group_size)
      )
      accuracy = jnp.mean(jax.nn.softmax(logits)[:, 0])
      return (logits, state), accuracy

    carry = (start_logits(), curricula.ucb_init(num_sources, window=window))
    return jax.lax.scan(step, carry, jax.random.split(key, num_steps))[1]

  keys = seed_keys(seed, num_seeds)
  found = {
      name: np.asarray(
          jax.jit(jax.vmap(functools.partial(run, name == "dump")))(keys)
      )
      for name in ("uniform", "dump")
  }
  gap = np.mean(found["dump"] - found["uniform"], axis=0)
  early, late = (gap[step - 1] for step in checked)
  return Study(
      "DUMP: a bandit chooses what to learn from",
      f"Accuracy of dump above uniform at steps {checked[0]} and {checked[1]}, "
      f"by more than {margin:g} at {checked[0]}",
      bool(early > margin and late > 0),
      [
          mean_row(name, f"accuracy at step {step}", x[:, step - 1])
          for name, x in found.items()
          for step in checked
      ],
      {
          "accuracy": Curves(
              np.arange(1, num_steps + 1), found, "step", "accuracy"
          )
      },
  )


def _learn_skills(key, skills, levels, *, group_size, learning_rate):
  """One step of leave-one-out policy gradient on problems of these levels."""
  worked, passed = ladder.attempt(
      key, skills, levels, num_samples=group_size
  )
  advantages = group.leave_one_out(passed.astype(jnp.float32))

  def value(skills):
    return jnp.mean(advantages * ladder.log_prob(skills, levels, worked))

  return skills + learning_rate * jax.grad(value)(skills)


def _teacher_rewards(grounded, key, skills, sets, student, hard, **loop):
  """Students taught by each set, and what its teacher is paid.

  Teachers are paid by progress if `grounded`, else by learnability.
  """
  step = lambda key, skills, levels: _learn_skills(
      key, skills, levels, **student
  )
  taught = teaching.grounded_rewards(
      key, step, lambda _, s: jnp.mean(ladder.success(s, hard)), skills, sets,
      **loop,
  )
  learnable = teaching.learnability(ladder.success(skills, sets))
  paid = jnp.where(grounded, taught.rewards, jnp.mean(learnable, axis=1))
  return taught, paid


def soar(
    *,
    seed,
    num_seeds,
    num_skills,
    skill,
    num_steps,
    num_sets,
    set_size,
    inner_steps,
    num_repeats,
    group_size,
    learning_rate,
    teacher_rate,
    threshold,
    times,
    direct_below,
) -> Study:
  """A student far from level L, taught by problems that a teacher chooses.

  "direct" learns from the hard level alone, "uniform" from evenly drawn
  levels, "intrinsic" pays the teacher by learnability, "grounded" by progress
  on the hard level. Teachers are softmax over levels with standardised
  advantages; every arm promotes by the same rule.
  """
  hard = jnp.array([num_skills])
  student = dict(group_size=group_size, learning_rate=learning_rate)
  loop = dict(num_steps=inner_steps, num_repeats=num_repeats)

  # The arms are arguments of one program.
  def run(key, teacher, learns, grounded):
    def step(carry, key):
      teacher, state = carry
      set_key, teach_key = jax.random.split(key)
      shape = (num_sets, set_size)
      uniforms = jax.random.uniform(set_key, shape)
      drawn = bandits.draw_arms(
          uniforms, jnp.broadcast_to(teacher, (num_sets, num_skills))
      )
      taught, paid = _teacher_rewards(
          grounded, teach_key, state.student, drawn + 1, student, hard, **loop
      )
      moved = teacher + teacher_rate * _score(teacher, drawn, paid)
      teacher = jnp.where(learns, moved, teacher)
      state, _ = teaching.promote(state, taught, threshold=threshold)
      return (teacher, state), ladder.success(state.student, hard)[0]

    start = teaching.init_promotion(jnp.full(num_skills, skill))
    steps = jax.random.split(key, num_steps)
    return jax.lax.scan(step, (teacher, start), steps)[1]

  keys = seed_keys(seed, num_seeds)
  alike = np.zeros(num_skills, np.float32)
  last = np.where(np.arange(num_skills) == num_skills - 1, alike, -1e9)
  arms = {
      "direct": (last.astype(np.float32), False, False),
      "uniform": (alike, False, False),
      "intrinsic": (alike, True, False),
      "grounded": (alike, True, True),
  }
  every_seed = jax.jit(jax.vmap(run, (0, None, None, None)))
  found = {name: np.asarray(every_seed(keys, *x)) for name, x in arms.items()}
  last = {name: np.mean(x[:, -1]) for name, x in found.items()}
  medians = ", ".join(
      f"{name} {np.median(x[:, -1]):.3g}" for name, x in found.items()
  )
  return Study(
      "SOAR: a teacher paid by progress on what is out of reach",
      f"Hard accuracy of grounded above {times:g} times uniform; direct below "
      f"{direct_below:g}",
      bool(
          last["grounded"] > times * last["uniform"]
          and last["direct"] < direct_below
      ),
      [mean_row(name, "hard accuracy", x[:, -1]) for name, x in found.items()],
      {
          "accuracy": Curves(
              np.arange(1, num_steps + 1), found, "outer step", "hard accuracy"
          )
      },
      f"Means over seeds with 95 % Student-t intervals. Medians: {medians}.",
  )


def _score(teacher, drawn, paid):
  """Ascent of the teacher: each set is one sample of its group."""
  advantages = group.standardized(paid)

  def value(teacher):
    log_probs = jnp.sum(jax.nn.log_softmax(teacher)[drawn], axis=1)
    return jnp.mean(advantages * log_probs) / drawn.shape[1]

  return jax.grad(value)(teacher)
