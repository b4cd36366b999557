"""The exploration papers as plain loops in NumPy float64.

As `references`: written from the papers, not from the package. Options are
those of `exploration_cases`.
"""

import math

import numpy as np
from scipy import stats

from tests.recipes.references import (
    clip,
    k3,
    mean_of_means,
    mean_of_tokens,
    per_token,
    returns,
    samples,
    standardized,
    token_terms,
)


def lp_reg(log_probs, batch):
  """The lowest 20 % of the punished tokens, by the sampler; proxy = reference.

  A token is protected while the *present* policy stays below the proxy.
  """
  advantages = standardized(batch)
  punished = sorted(
      batch.behavior[b, g, t]
      for b, g, steps in samples(batch)
      for t in steps
      if advantages[b, g] < 0
  )
  last = punished[max(round(0.2 * len(punished)), 1) - 1]
  terms = []
  for b, g, steps in samples(batch):
    terms.append([])
    for t in steps:
      a, proxy = advantages[b, g], batch.reference[b, g, t]
      ratio = math.exp(log_probs[b, g, t] - batch.behavior[b, g, t])
      low = a < 0 and batch.behavior[b, g, t] <= last
      if low and log_probs[b, g, t] < proxy:
        loss = -a * ratio + 0.7 * k3(log_probs[b, g, t], proxy)
      else:
        loss = clip(ratio, a, 0.3, 9.0)
      terms[-1].append(loss)
  return mean_of_tokens(terms)


def unlikeliness(log_probs, batch):
  rewards = np.zeros_like(batch.rewards)
  for b, row in enumerate(batch.valid):
    known = np.flatnonzero(row)
    mean = [np.mean(batch.behavior[b, g][batch.mask[b, g]]) for g in known]
    for rank, i in enumerate(np.argsort(mean)):
      g = known[i]
      rewards[b, g] = batch.rewards[b, g] * (1 - 0.5 * rank / len(known))
  advantages = per_token(batch, standardized(batch, rewards))
  live = np.array(
      [len(set(r[known])) > 1 for r, known in zip(rewards, batch.valid)]
  )
  kept = batch._replace(valid=batch.valid & live[:, None])
  return mean_of_tokens(token_terms(log_probs, kept, advantages, 0.2, 0.2))


def dcpo(log_probs, batch):
  """Tempered log-probs = reference; the entropy is that of the rollouts."""
  advantages = standardized(batch)
  surprises = [
      -batch.behavior[b, g, t] for b, g, steps in samples(batch) for t in steps
  ]
  positive = batch.valid & (batch.rewards > 0.45)
  share = positive.sum() / batch.valid.sum()
  error = min(abs(0.9 - np.mean(surprises)), 0.2) / share
  alpha = error / (1 + error)
  warm = np.exp(batch.reference - batch.behavior)
  mixed = (1 - alpha) * advantages[..., None]
  mixed = mixed + alpha * positive[..., None] * warm
  return mean_of_tokens(token_terms(log_probs, batch, mixed, 0.2, 0.28))


def g2rpo(log_probs, batch):
  """Entropies = values, held fixed; the band is 0.45 to 0.5."""
  advantages = np.zeros(batch.valid.shape)
  for b, row in enumerate(batch.valid):
    known = np.flatnonzero(row)
    quantiles = stats.norm.ppf((np.arange(len(known)) + 0.5) / len(known))
    ordered = np.sort(batch.rewards[b, known])
    for g in known:
      same = ordered == batch.rewards[b, g]
      advantages[b, g] = np.mean(quantiles[same])
  terms = token_terms(log_probs, batch, per_token(batch, advantages), 0.2, 0.2)
  bands = []
  for b, g, steps in samples(batch):
    entropy = np.mean(batch.values[b, g, steps])
    bands.append(2 * max(0.45 - entropy, entropy - 0.5, 0) ** 2)
  return mean_of_means(terms) + sum(bands) / len(bands)


def stable_reinforce(log_probs, batch):
  raw = returns(batch, beta=0.1, gamma=0.9)
  flat = [raw[b, g, t] for b, g, steps in samples(batch) for t in steps]
  z = (raw - np.mean(flat)) / np.std(flat)
  z = np.where(np.abs(z) > 1.2, 0.0, z)
  assert np.any((z == 0) & batch.counted)
  terms = []
  for b, g, steps in samples(batch):
    terms.append([])
    for t in steps:
      gap = log_probs[b, g, t] - batch.behavior[b, g, t]
      gap = min(max(gap, -math.log(1.3)), math.log(1.3))
      terms[-1].append(clip(math.exp(gap), z[b, g, t], 0.4, 0.4))
  return mean_of_means(terms)


def oreal(log_probs, batch):
  """Values at the present policy; wrong tokens have exp(0) = 1."""
  sums, counts = {True: 0.0, False: 0.0}, {True: 0, False: 0}
  kl, tokens = 0.0, 0
  for b, g, steps in samples(batch):
    if not batch.kept[b, g]:
      continue
    right = bool(batch.rewards[b, g] > 0)
    others = [
        2.0 * (batch.rewards[b, j] > 0) - 1
        for j in np.flatnonzero(batch.valid[b])
        if j != g
    ]
    advantage = 2.0 * right - 1 - np.mean(others) if others else 0.0
    running = 0.0
    for i, t in enumerate(steps):
      running += batch.token_rewards[b, g, t]
      belief = 1 / (1 + math.exp(-running / (i + 1)))
      weight = min(max((belief - 0.5 if right else 0.5 - belief) / 0.5, 0), 1)
      held = math.exp(log_probs[b, g, t] - batch.log_probs[b, g, t])
      value = -log_probs[b, g, t] if right else -held
      sums[right] += weight * advantage * value
      counts[right] += 1
      kl += k3(log_probs[b, g, t], batch.reference[b, g, t])
      tokens += 1
  loss = sums[True] / counts[True] + 0.5 * sums[False] / counts[False]
  return loss + 0.05 * kl / tokens


def amft(log_probs, batch):
  """Demonstrations = the reference's log-probs of the masked tokens."""
  terms = token_terms(
      log_probs, batch, per_token(batch, standardized(batch)), 0.2, 0.2
  )
  known = -np.mean(batch.reference[batch.counted])
  return 0.75 * mean_of_means(terms) + 0.25 * known
