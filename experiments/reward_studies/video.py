"""What VideoReward claims: ties that teach, and flows that learn from pairs.

Each function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies import models
from experiments.reward_studies.beds import flow, gold
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diagnostics import comparisons
from rewardjax.diffusion import objectives, samplers, schedules
from rewardjax.models.denoisers import TimeMLP
from rewardjax.reward_models import fitting, pairwise

_FLOW = schedules.rectified_flow()


def _observe(key, gaps, tie_factor):
  """1, -1 or 0 for a tie, by the law of Rao and Kupper."""
  log_probs = pairwise.rao_kupper_log_probs(gaps, tie_factor=tie_factor)
  drawn = jax.random.categorical(key, jnp.stack(log_probs, -1))
  return jnp.array([1, -1, 0])[drawn]


def _tie_losses(apply, tie_factor):
  diff = lambda params, batch: (
      apply(params, batch["first"]) - apply(params, batch["second"])
  )

  def dropped(params, batch, key):
    del key
    d, seen = diff(params, batch), batch["outcome"]
    decided = seen != 0
    target = (seen > 0).astype(d.dtype)
    losses = pairwise.pairwise_logistic(d, decided, target=target)
    return Mean.of(losses, decided)

  def kept(params, batch, key):
    del key
    return Mean.of(pairwise.rao_kupper(
        diff(params, batch), batch["outcome"], tie_factor=tie_factor
    ))

  return {"ties dropped": dropped, "Rao-Kupper": kept}


def video_reward(
    *, seed, num_seeds, dim, widths, tie_factor, sharpness, num_pairs,
    num_test, within, **training,
) -> Study:
  """Comparisons of which some are ties: dropped, or learned from.

  `sharpness` is the true scale of rewards in nats; `within` the accuracy on
  decided pairs that may be lost.
  """
  model = models.scorer(dim, tuple(widths))
  losses = _tie_losses(model.apply, tie_factor)

  def rows(key, truth, count):
    keys = split_named(key, "pairs", "labels")
    pairs = gold.compare(keys["pairs"], truth, num_pairs=count)
    seen = _observe(keys["labels"], sharpness * pairs.gap, tie_factor)
    return dict(first=pairs.first, second=pairs.second, outcome=seen)

  def run(key):
    keys = split_named(key, "gold", "train", "test", "fit")
    truth = gold.gold_model(keys["gold"], dim=dim)
    train = rows(keys["train"], truth, num_pairs)
    test = rows(keys["test"], truth, num_test)
    out = {"ties": jnp.mean(test["outcome"] == 0)}
    for name, loss in losses.items():
      params = models.fit_scorer(keys["fit"], model, loss, train, **training)
      found = model.apply(params, test["first"])
      margins = found - model.apply(params, test["second"])
      right = jnp.sign(margins) == test["outcome"]
      out[name] = {
          "accuracy, decided": Mean.of(
              right.astype(float), test["outcome"] != 0
          ).value,
          "accuracy, calibrated ties": comparisons.tie_calibrated_accuracy(
              test["outcome"], margins
          ).accuracy,
          "correlation with the truth": jnp.corrcoef(
              found, gold.value(truth, test["first"])
          )[0, 1],
      }
    return out

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  ties = found.pop("ties")
  gain = {
      metric: np.mean(x - found["ties dropped"][metric])
      for metric, x in found["Rao-Kupper"].items()
  }
  lost = -gain.pop("accuracy, decided")
  rows_of = [
      mean_row(name, metric, x)
      for name, metrics in found.items()
      for metric, x in metrics.items()
  ]
  return Study(
      "VideoReward: ties that teach",
      "Learning from ties raises the accuracy with calibrated ties and the "
      f"correlation with the true reward, and loses at most {within:g} of the "
      "accuracy on decided pairs",
      bool(min(gain.values()) > 0 and lost <= within),
      [*rows_of, mean_row("both", "share of ties", ties)],
      {},
  )


def _bump(x, width=0.5):
  return jnp.exp(-jnp.sum(jnp.square(x - flow.centres()[:1]), -1) / width)


def _denoiser(net):
  """`(params, x0, t, eps) -> denoise_error` at the noisy samples."""

  def error(params, x0, t, eps):
    x = schedules.add_noise(_FLOW, x0, eps, t)
    return objectives.denoise_error(net.apply(params, x, t), eps - x0)

  return error


def _draw(key, like):
  keys = split_named(key, "t", "eps")
  t = jax.random.uniform(keys["t"], like.shape[:1])
  return t, jax.random.normal(keys["eps"], like.shape)


_ARMS = ("base", "fine-tuned", "Flow-RWR", "Flow-DPO")


def _match(error):
  """Flow matching."""

  def loss(params, batch, key):
    return Mean.of(error(params, batch, *_draw(key, batch)))

  return loss


def _align(error, base, arm, beta, temperature):
  """The loss of an arm, 1 .. 3 of `_ARMS`, on pairs; all see the same noise."""

  def loss(params, batch, key):
    t, eps = _draw(key, batch["winner"])
    ends = batch["winner"], batch["loser"]
    own = [error(params, x0, t, eps) for x0 in ends]
    kept = [error(base, x0, t, eps) for x0 in ends]
    both = jnp.concatenate(own)
    weighed = objectives.flow_rwr_loss(
        both, _bump(jnp.concatenate(ends)), temperature=temperature
    )
    losses = [
        jnp.mean(own[0]),
        jnp.mean(weighed),
        jnp.mean(objectives.flow_dpo_loss(*own, *kept, beta=beta)),
    ]
    return Mean.of(jnp.stack(losses)[arm - 1])

  return loss


def _measure(samples):
  """Of samples [A, N, 2] of all arms; the KL is from the first, by modes."""
  gaps = jnp.linalg.norm(
      samples[:, :, None] - flow.centres()[None, None], axis=-1
  )
  shares = jnp.mean(jax.nn.one_hot(jnp.argmin(gaps, -1), gaps.shape[-1]), 1)
  logs = jnp.log(jnp.maximum(shares, 1e-6))
  return {
      "true reward": jnp.mean(jax.vmap(_bump)(samples), -1),
      "KL of modes, nats": jnp.sum(shares * (logs - logs[:1]), -1),
      "distance to a mode": jnp.mean(jnp.min(gaps, -1), -1),
  }


def video_reward_flow(
    *, seed, num_seeds, widths, data_size, base_steps, batch_size, base_rate,
    num_pairs, beta, temperature, num_steps, learning_rate, sample_steps,
    num_samples,
) -> Study:
  """A flow to eight modes learns to prefer one, from pairs of its samples."""
  net = TimeMLP(tuple(widths))
  error = _denoiser(net)
  times = schedules.time_grid(sample_steps)

  def sample(key, params, count):
    start = jax.random.normal(key, (count, 2))
    return samplers.euler(lambda x, t: net.apply(params, x, t), start, times)

  def fit(key, params, loss, data, steps, rate):
    return fitting.fit(
        key, params, loss, data, num_steps=steps, batch_size=batch_size,
        optimizer=optax.adam(optax.cosine_decay_schedule(rate, steps)),
    ).params

  def pairs(key, params):
    first, second = jnp.split(sample(key, params, 2 * num_pairs), 2)
    swap = (_bump(second) > _bump(first))[:, None]
    return dict(
        winner=jnp.where(swap, second, first),
        loser=jnp.where(swap, first, second),
    )

  def run(key):
    keys = split_named(key, "init", "data", "base", "pairs", "fit", "sample")
    one = jnp.zeros((1, 2))
    params = net.init(keys["init"], one, one[:, 0])
    data = flow.ring(keys["data"], data_size)
    base = fit(
        keys["base"], params, _match(error), data, base_steps, base_rate
    )
    seen = pairs(keys["pairs"], base)

    def align(arm):
      loss = _align(error, base, arm, beta, temperature)
      return fit(keys["fit"], base, loss, seen, num_steps, learning_rate)

    others = jax.vmap(align)(jnp.arange(1, len(_ARMS)))
    every = jax.tree.map(
        lambda x, y: jnp.concatenate([x[None], y]), base, others
    )
    return _measure(jax.vmap(
        lambda params: sample(keys["sample"], params, num_samples)
    )(every))

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  reward = dict(zip(_ARMS, np.mean(found["true reward"], 0)))
  aligned = min(reward["Flow-DPO"], reward["Flow-RWR"])
  return Study(
      "VideoReward: flows that learn from pairs",
      "Flow-DPO and Flow-RWR raise the true reward over the base, and "
      "Flow-DPO over fine-tuning on the preferred samples, at equal steps",
      bool(
          aligned > reward["base"] and reward["Flow-DPO"] > reward["fine-tuned"]
      ),
      [
          mean_row(name, metric, x[:, i])
          for i, name in enumerate(_ARMS)
          for metric, x in found.items()
      ],
      {},
      f"{NOTE} The KL is that of the shares of the eight modes.",
  )
