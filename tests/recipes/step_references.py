"""The papers' formulas as plain loops in NumPy float64, from the papers."""

import math

import numpy as np

from tests.recipes import references as common


def clipped_loss(log_probs, batch, advantages, low, high, mean):
  terms = common.token_terms(log_probs, batch, advantages, low, high)
  return mean(terms)


def critic_loss(log_probs, batch, rewards, decay):
  """PPO with these token rewards, discount 1, and no KL."""
  advantages = np.zeros(batch.mask.shape)
  for b, g, steps in common.samples(batch):
    r, v = rewards[b, g, steps], batch.behavior_values[b, g, steps]
    delta = r + np.append(v[1:], 0.0) - v
    for i, t in enumerate(steps):
      powers = decay ** np.arange(len(steps) - i)
      advantages[b, g, t] = np.sum(powers * delta[i:])
  targets = advantages + batch.behavior_values
  white = common.whiten(batch, advantages)
  policy = clipped_loss(
      log_probs, batch, white, 0.2, 0.2, common.mean_of_tokens
  )
  errors = []
  for b, g, steps in common.samples(batch):
    for t in steps:
      v, target = batch.values[b, g, t], targets[b, g, t]
      anchor = batch.behavior_values[b, g, t]
      bounded = min(max(v, anchor - 0.2), anchor + 0.2)
      errors.append(max((v - target) ** 2, (bounded - target) ** 2) / 2)
  return policy + 0.1 * sum(errors) / len(errors)


def at_ends(batch, extra, per_step):
  """Pays `per_step(b, g)`, a list over real steps, at their last tokens."""
  out = np.zeros(batch.mask.shape)
  for b, g, steps in common.samples(batch):
    present = np.flatnonzero(extra.step_mask[b, g])
    for k, pay in zip(present, per_step(b, g), strict=True):
      mine = [t for t in steps if extra.step_ids[b, g, t] == k]
      out[b, g, mine[-1]] += pay
  return out


def scores(extra, b, g):
  return [float(x) for x in extra.step_rewards[b, g][extra.step_mask[b, g]]]


def refined(x, threshold, delta):
  x = [min(r - threshold, 0.0) for r in x]
  if delta:
    x = [x[k] - x[k + 1] if k + 2 < len(x) else x[k] for k in range(len(x) - 1)]
    x.append(0.0)
  return x


def reward_refinement(log_probs, batch, extra):
  paid = at_ends(
      batch,
      extra,
      lambda b, g: [0.3 * r for r in refined(scores(extra, b, g), 0.6, True)],
  )
  for b, g, steps in common.samples(batch):
    paid[b, g, steps[-1]] += batch.rewards[b, g]
  return critic_loss(log_probs, batch, paid, 0.9)


def ppr(log_probs, batch, extra):
  anchored = lambda b, g: [
      r + batch.rewards[b, g] - 1 for r in scores(extra, b, g)
  ]
  return critic_loss(log_probs, batch, at_ends(batch, extra, anchored), 0.9)


def lare(log_probs, batch, extra):
  def shared(b, g):
    steps = scores(extra, b, g)
    missing = batch.rewards[b, g] - sum(steps)
    return [r + missing / len(steps) for r in steps]

  unpaid = batch._replace(rewards=np.zeros_like(batch.rewards))
  return critic_loss(log_probs, batch, at_ends(unpaid, extra, shared), 0.9)


def gated_accumulation(log_probs, batch, extra):
  total = np.array(batch.rewards)
  for b, g, _ in common.samples(batch):
    if batch.rewards[b, g] >= 0.5:
      total[b, g] += sum(scores(extra, b, g))
  advantages = common.per_token(batch, common.standardized(batch, total))
  return clipped_loss(
      log_probs, batch, advantages, 0.2, 0.2, common.mean_of_means
  )


def leave_one_out(values):
  n = len(values)
  if n < 2:
    return [0.0] * n
  return [v - (sum(values) - v) / (n - 1) for v in values]


def standardized(values):
  n, mean = len(values), sum(values) / max(len(values), 1)
  if n < 2 or max(values) == min(values):
    return [0.0] * n
  std = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
  return [(v - mean) / (std + 1e-6) for v in values]


def two_level(batch, outcome, steps, of_token, estimator, weight):
  """Advantages per token; `steps` maps (b, g, k) to a step's reward."""
  out = np.zeros(batch.mask.shape)
  for b in range(len(batch.valid)):
    known = list(np.flatnonzero(batch.valid[b]))
    whole = dict(zip(known, estimator([outcome[b, g] for g in known])))
    keys = [key for key in steps if key[0] == b]
    parts = dict(zip(keys, estimator([steps[key] for key in keys])))
    for _, g, ts in (x for x in common.samples(batch) if x[0] == b):
      for t in ts:
        extra = parts.get((b, g, of_token(b, g, t)), 0.0)
        out[b, g, t] = whole[g] + weight * extra
  return out


def oprl(log_probs, batch, extra):
  steps = {}
  for b, g, ts in common.samples(batch):
    for t in ts:
      key = (b, g, extra.step_ids[b, g, t])
      ratio = extra.process_log_probs[b, g, t] - batch.behavior[b, g, t]
      steps[key] = steps.get(key, 0.0) + 0.05 * ratio
  advantages = two_level(
      batch,
      batch.rewards,
      steps,
      lambda b, g, t: extra.step_ids[b, g, t],
      leave_one_out,
      0.7,
  )
  return clipped_loss(
      log_probs, batch, advantages, 0.2, 0.2, common.mean_of_means
  )


def tp_grpo(log_probs, batch, extra):
  thought, steps = {}, {}
  for b in range(len(batch.valid)):
    known = np.flatnonzero(batch.valid[b])
    p = np.mean([batch.rewards[b, g] for g in known])
    for _, g, _ in (x for x in common.samples(batch) if x[0] == b):
      runs, right = [], batch.rewards[b, g] > 0.5
      for k in np.flatnonzero(extra.step_mask[b, g]):
        label = bool(extra.labels[b, g, k])
        if not runs or runs[-1] != label:
          runs.append(label)
        thought[b, g, k] = len(runs) - 1
      for j, label in enumerate(runs[:-1]):
        if label == right:
          steps[b, g, j] = 1.0 if label else -1.0
        else:
          steps[b, g, j] = 1 - p if label else -p
  advantages = two_level(
      batch,
      batch.rewards,
      steps,
      lambda b, g, t: thought[b, g, extra.step_ids[b, g, t]],
      standardized,
      0.7,
  )
  return clipped_loss(
      log_probs, batch, advantages, 0.2, 0.2, common.mean_of_means
  )


def likelihood(log_probs, batch, extra):
  """kind log_prob: -A log pi(z) - log p(answer | z), over answered samples."""
  value = np.where(extra.answer_mask, extra.answer_log_probs, 0.0).sum(-1)
  answered = batch._replace(valid=batch.valid & extra.answer_mask.any(-1))
  total, rows = 0.0, 0
  for b, g, steps in common.samples(answered):
    known = list(np.flatnonzero(answered.valid[b]))
    advantage = leave_one_out([value[b, j] for j in known])[known.index(g)]
    total -= advantage * sum(log_probs[b, g, t] for t in steps) + value[b, g]
    rows += 1
  return total / rows


def rlpr(log_probs, batch, extra):
  probabilities = np.where(extra.answer_mask, np.exp(extra.answer_log_probs), 0)
  length = np.maximum(extra.answer_mask.sum(-1), 1)
  value = np.maximum(probabilities.sum(-1) / length - 0.4, 0.0)
  reward = 0.9 * value + 0.1 * batch.rewards
  advantages = common.per_token(batch, common.standardized(batch, reward))
  return clipped_loss(
      log_probs, batch, advantages, 0.2, 0.27, common.mean_of_tokens
  )


def co_reward(log_probs, batch, extra):
  labels = []
  for b in range(len(batch.valid)):
    votes = [a for a in extra.answers[b][batch.valid[b]] if a >= 0]
    counts = np.bincount(votes, minlength=3) if votes else np.zeros(3)
    labels.append(int(np.argmax(counts)) if votes else -1)
  reward = np.zeros(batch.valid.shape)
  for b in range(len(batch.valid)):
    twin = labels[b ^ 1]
    reward[b] = [float(a == twin and a >= 0) for a in extra.answers[b]]
  advantages = common.per_token(batch, common.standardized(batch, reward))
  return clipped_loss(
      log_probs, batch, advantages, 0.2, 0.2, common.mean_of_means
  )


def gdpo(log_probs, batch, extra):
  total = np.zeros(batch.valid.shape)
  for b in range(len(batch.valid)):
    for m, weight in enumerate((1.0, 0.5)):
      known = np.flatnonzero(extra.component_mask[b, :, m])
      values = [extra.components[b, g, m] for g in known]
      for g, a in zip(known, standardized(values), strict=True):
        total[b, g] += weight * a
  flat = total[extra.component_mask.any(-1)]
  white = (total - flat.mean()) / math.sqrt(flat.var(ddof=1) + 1e-8)
  return clipped_loss(
      log_probs, batch, common.per_token(batch, white), 0.2, 0.2,
      common.mean_of_tokens,
  )
