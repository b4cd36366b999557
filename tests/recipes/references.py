"""The papers' formulas as plain loops in NumPy float64.

`log_probs` (and `values`) vary; everything else of the batch is data, the
ratios of CISPO included. Written from the papers, not from the package.
"""

import math

import numpy as np


def samples(batch):
  """(prompt, sample, token positions) of every sample that counts."""
  for b, g in np.ndindex(batch.valid.shape):
    steps = np.flatnonzero(batch.mask[b, g])
    if batch.valid[b, g] and len(steps):
      yield b, g, steps


def clip(ratio, advantage, low, high):
  bounded = min(max(ratio, 1 - low), 1 + high)
  return -min(ratio * advantage, bounded * advantage)


def k3(log_p, log_q):
  return math.exp(log_q - log_p) - 1 - (log_q - log_p)


def group_statistics(rewards, valid, ddof=1):
  """Per group: mean, std, number of valid samples."""
  for row, known in zip(rewards, valid):
    r = row[known]
    mean = sum(r) / len(r)
    squares = sum((x - mean) ** 2 for x in r)
    std = math.sqrt(squares / (len(r) - ddof)) if len(r) > ddof else 0.0
    yield mean, std, len(r)


def standardized(batch, rewards=None):
  rewards = batch.rewards if rewards is None else rewards
  out = np.zeros(batch.valid.shape)
  for b, (mean, std, n) in enumerate(group_statistics(rewards, batch.valid)):
    for g in np.flatnonzero(batch.valid[b]):
      if n > 1 and std > 0:
        out[b, g] = (rewards[b, g] - mean) / (std + 1e-6)
  return out


def centered(batch):
  out = np.zeros(batch.valid.shape)
  for b, (mean, _, _) in enumerate(
      group_statistics(batch.rewards, batch.valid)
  ):
    for g in np.flatnonzero(batch.valid[b]):
      out[b, g] = batch.rewards[b, g] - mean
  return out


def token_rewards(batch, beta):
  """Reward at the last token, -beta * (log mu - log ref) at every token."""
  out = np.zeros(batch.mask.shape)
  for b, g, steps in samples(batch):
    for t in steps:
      out[b, g, t] = -beta * (
          batch.behavior[b, g, t] - batch.reference[b, g, t]
      )
    out[b, g, steps[-1]] += batch.rewards[b, g]
  return out


def returns(batch, beta, gamma):
  rewards, out = token_rewards(batch, beta), np.zeros(batch.mask.shape)
  for b, g, steps in samples(batch):
    running = 0.0
    for t in reversed(steps):
      running = rewards[b, g, t] + gamma * running
      out[b, g, t] = running
  return out


def whiten(batch, x):
  flat = [x[b, g, t] for b, g, steps in samples(batch) for t in steps]
  mean = sum(flat) / len(flat)
  variance = sum((y - mean) ** 2 for y in flat) / (len(flat) - 1)
  return (x - mean) / math.sqrt(variance + 1e-8)


def per_token(batch, advantages):
  return np.broadcast_to(advantages[..., None], batch.mask.shape)


def token_terms(log_probs, batch, advantages, low, high, beta=0.0):
  """One list of clipped token losses per sample."""
  terms = []
  for b, g, steps in samples(batch):
    terms.append([])
    for t in steps:
      ratio = math.exp(log_probs[b, g, t] - batch.behavior[b, g, t])
      loss = clip(ratio, advantages[b, g, t], low, high)
      loss += beta * k3(log_probs[b, g, t], batch.reference[b, g, t])
      terms[-1].append(loss)
  return terms


def mean_of_tokens(terms):
  flat = [x for row in terms for x in row]
  return sum(flat) / len(flat)


def mean_of_means(terms):
  return sum(sum(row) / len(row) for row in terms) / len(terms)


def reinforce(log_probs, batch):
  advantages = returns(batch, beta=0.1, gamma=0.9) - 0.3
  total, rows = 0.0, 0
  for b, g, steps in samples(batch):
    rows += 1
    for t in steps:
      total -= advantages[b, g, t] * log_probs[b, g, t]
  return total / rows


def reinforce_pp(log_probs, batch):
  advantages = whiten(batch, returns(batch, beta=0.1, gamma=1.0))
  return mean_of_tokens(token_terms(log_probs, batch, advantages, 0.2, 0.2))


def reinforce_pp_baseline(log_probs, batch):
  advantages = whiten(batch, per_token(batch, centered(batch)))
  terms = token_terms(log_probs, batch, advantages, 0.2, 0.2, beta=0.05)
  return mean_of_tokens(terms)


def rloo(log_probs, batch):
  beta, total, rows = 0.1, 0.0, 0
  penalized = np.array(batch.rewards)
  for b, g, steps in samples(batch):
    for t in steps:
      gap = batch.behavior[b, g, t] - batch.reference[b, g, t]
      penalized[b, g] -= beta * gap
  for b, g, steps in samples(batch):
    others = [penalized[b, j] for j in np.flatnonzero(batch.valid[b]) if j != g]
    advantage = 0.0
    if others:
      advantage = penalized[b, g] - sum(others) / len(others)
    gap = sum(log_probs[b, g, t] - batch.behavior[b, g, t] for t in steps)
    total += clip(math.exp(gap), advantage, 0.2, 0.2)
    rows += 1
  return total / rows


def grpo(log_probs, batch):
  advantages = per_token(batch, standardized(batch))
  terms = token_terms(log_probs, batch, advantages, 0.2, 0.2, beta=0.04)
  return mean_of_means(terms)


def dr_grpo(log_probs, batch):
  advantages = per_token(batch, centered(batch))
  terms = token_terms(log_probs, batch, advantages, 0.2, 0.2)
  return sum(sum(row) for row in terms) / (batch.valid.size * 6)


def dapo(log_probs, batch):
  lengths = batch.mask.sum(-1)
  shaped = batch.rewards + np.array(
      [[-min(max((n - 3) / 2, 0), 1) for n in row] for row in lengths]
  )
  advantages = per_token(batch, standardized(batch, shaped))
  live = [
      len(set(row[known])) > 1 for row, known in zip(batch.rewards, batch.valid)
  ]
  kept = batch._replace(valid=batch.valid & np.array(live)[:, None])
  return mean_of_tokens(token_terms(log_probs, kept, advantages, 0.2, 0.28))


def gspo(log_probs, batch):
  advantages, total, rows = standardized(batch), 0.0, 0
  for b, g, steps in samples(batch):
    gaps = [log_probs[b, g, t] - batch.behavior[b, g, t] for t in steps]
    ratio = math.exp(sum(gaps) / len(gaps))
    total += clip(ratio, advantages[b, g], 0.1, 0.15)
    rows += 1
  return total / rows


def cispo(log_probs, batch):
  advantages, total, count = standardized(batch), 0.0, 0
  for b, g, steps in samples(batch):
    for t in steps:
      held = math.exp(batch.log_probs[b, g, t] - batch.behavior[b, g, t])
      weight = min(max(held, 0.8), 1.28)
      total -= weight * advantages[b, g] * log_probs[b, g, t]
      count += 1
  return total / count


def gae(batch, beta, gamma, decay):
  """Sums of discounted errors over the kept steps of each sample."""
  rewards = token_rewards(batch, beta)
  advantages = np.zeros(batch.mask.shape)
  for b, g, steps in samples(batch):
    r, v = rewards[b, g, steps], batch.behavior_values[b, g, steps]
    last = batch.bootstrap[b, g] if batch.truncated[b, g] else 0.0
    delta = r + gamma * np.append(v[1:], last) - v
    for i, t in enumerate(steps):
      powers = (gamma * decay) ** np.arange(len(steps) - i)
      advantages[b, g, t] = np.sum(powers * delta[i:])
  return advantages


def ppo(log_probs, batch, values=None):
  values = batch.values if values is None else values
  raw = gae(batch, beta=0.1, gamma=0.99, decay=0.9)
  targets = raw + batch.behavior_values
  terms = token_terms(log_probs, batch, whiten(batch, raw), 0.2, 0.2)
  errors = []
  for b, g, steps in samples(batch):
    for t in steps:
      v, target = values[b, g, t], targets[b, g, t]
      anchor = batch.behavior_values[b, g, t]
      bounded = min(max(v, anchor - 0.2), anchor + 0.2)
      errors.append(max((v - target) ** 2, (bounded - target) ** 2) / 2)
  return mean_of_tokens(terms) + 0.1 * sum(errors) / len(errors)
