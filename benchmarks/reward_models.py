"""Training of reward models: ensembles, packed pairs, and TRL's step.

    python -m benchmarks.reward_models
    python -m benchmarks.reward_models --peer=trl --cores=2 \
        --peer_python=.peer/bin/python

Prints ratios: 16 small members against one, packed against padded pairs, and
with --peer this library's step against that of TRL's RewardTrainer, in turns
on the same cores: one model (parameters are counted on both sides), the same
pairs of tokens, all of the same length, so that packing gains nothing. Half
of each sequence is the prompt of its pair, as where a prompt has two answers;
a second row has no prompt in common.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from benchmarks import peer, workloads
from configs.reward_model import base
from experiments import (
    commands,
    reward_model_backbones,
    reward_model_batches,
    reward_model_lanes,
    reward_model_loop,
)
from experiments.reward_model_backbones import Model
from experiments.reward_model_lanes import Encoded
from rewardjax.models import transformer
from rewardjax.models.heads import VectorHead

TARGET, ENSEMBLE_TARGET = 2.0, 3.0
PEER = peer.SCRIPT.parent / "trl_reward.py"
MEMBERS = 16


class Load(NamedTuple):
  """One step: its program, its state and one batch [M, N, ...]."""

  step: Callable
  state: reward_model_loop.Member
  batch: dict

  def operations(self) -> float:
    """Of one step, as the compiler counts them."""
    compiled = self.step.lower(self.state, self.batch).compile()
    return compiled.cost_analysis()["flops"]


def rows_of(
    lengths: np.ndarray, vocab_size: int, *, prompt: int = 0, seed: int = 0
):
  """Pairs of random tokens of given lengths [B, 2], prompts included."""
  rng = np.random.default_rng(seed)
  targets = dict(weight=1.0, user=0, outcome=1)
  draw = lambda n: rng.integers(1, vocab_size, n).astype(np.int32)
  rows = []
  for pair in lengths:
    asked = draw(prompt)
    texts = tuple(np.append(asked, draw(n - prompt)) for n in pair)
    ends = tuple((i, int(n) - 1) for i, n in enumerate(pair))
    rows.append(reward_model_lanes.share(Encoded(texts, ends, targets)))
  return rows


def vector_rows(num_pairs: int, width: int, seed: int = 0):
  """Pairs of feature vectors."""
  rng = np.random.default_rng(seed)
  draw = lambda: rng.normal(size=(1, width)).astype(np.float32)
  targets = dict(weight=1.0, user=0, outcome=1)
  return [
      Encoded((draw(), draw()), ((0, 0), (1, 0)), targets)
      for _ in range(num_pairs)
  ]


def transformer_model(fields: dict) -> Model:
  """A transformer with a head without bias, as the peer's."""
  backbone = reward_model_backbones.of_transformer(
      transformer.Transformer(**fields), None
  )
  return Model(backbone, VectorHead(1, use_bias=False), 1)


def make_load(
    model: Model, rows, *, members: int = 1, packs: bool = True
) -> Load:
  """A step of all members, that donates its state, as training's does."""
  config = base.get_config()
  config.members, config.optimizer.max_grad_norm = members, 1e9
  config.patience = 0
  found = reward_model_batches.cover(rows, batch_size=len(rows), packs=packs)
  spread = lambda x: np.broadcast_to(x, (members, *x.shape[1:]))
  batch = jax.device_put(jax.tree.map(spread, found))
  first = rows[0].sequences[0]
  width = first.shape[1] if first.ndim > 1 else 0
  state = jax.jit(lambda: reward_model_loop.init(config, model, width))()
  step = reward_model_loop.make_members_step(config, model, "pairs", None)
  return Load(jax.jit(step, donate_argnums=0), state, batch)


def runner(load: Load) -> Callable[[int], peer.Times]:
  """Returns a function that runs n more steps and times them."""
  state = load.state

  def run(count):
    nonlocal state
    total = []
    for _ in range(count):
      start = time.perf_counter()
      state, metrics = load.step(state, load.batch)
      jax.block_until_ready((state, metrics))
      total.append(time.perf_counter() - start)
    return peer.Times(total, [0.0] * count)

  return run


def ratio(slow, fast, *, rounds: int, steps: int) -> tuple[float, float, float]:
  """Medians of a step of each, in turns, and the median of their ratios."""
  found = peer.in_turns(slow, fast, rounds=rounds, steps=steps, warm_up=3)
  median = lambda times: statistics.median(times.total)
  pairs = [(median(r.ours), median(r.theirs)) for r in found]
  middle = lambda values: statistics.median(values)
  return (
      middle([x for x, _ in pairs]),
      middle([y for _, y in pairs]),
      middle([x / y for x, y in pairs]),
  )


def small_heads():
  """A model of features, and 32 pairs."""
  head = VectorHead(1, widths=(64,))
  model = Model(reward_model_backbones.vectors(), head, 1)
  return model, vector_rows(32, 32)


def ensembles(options) -> None:
  small = dict(
      vocab_size=259, width=16, num_layers=1, num_heads=2, mlp_width=24
  )
  lengths = np.full((4, 2), 16)
  cases = {
      "heads of 64 on features [32]": small_heads(),
      "transformers of width 16, 4 pairs of 16 tokens": (
          transformer_model(small),
          rows_of(lengths, 259),
      ),
  }
  print(f"| {MEMBERS} members against one | s | s | ratio | at most |")
  print("|---|---|---|---|---|")
  for name, (model, rows) in cases.items():
    runs = (
        runner(make_load(model, rows, members=n)) for n in (MEMBERS, 1)
    )
    found = ratio(*runs, rounds=options.rounds, steps=options.steps)
    cells = " | ".join(f"{x:.5f}" for x in found[:2])
    print(f"| {name} | {cells} | {found[2]:.2f} | {ENSEMBLE_TARGET:g} |")


def pair_lengths(num_pairs: int, longest: int, seed: int = 0) -> np.ndarray:
  """Log-normal lengths, as those of answers; the longest is there."""
  rng = np.random.default_rng(seed)
  drawn = np.exp(rng.normal(np.log(longest / 3), 0.6, (num_pairs, 2)))
  lengths = np.clip(drawn, 4, longest).astype(int)
  lengths[0, 0] = longest
  return lengths


def packing(options) -> None:
  fields = workloads.MODELS["test" if options.tiny else "tiny"]
  model = transformer_model(fields)
  lengths = pair_lengths(options.pairs, options.length)
  rows = rows_of(lengths, fields["vocab_size"])
  loads = [make_load(model, rows, packs=packs) for packs in (False, True)]
  sizes = [load.batch["segments"].size for load in loads]
  print(f"\n{lengths.sum()} real tokens of {options.pairs} pairs")
  times = sizes[0] / sizes[1]
  print(f"places: {sizes[0]} padded, {sizes[1]} packed: 1/{times:.2f}")
  found = ratio(
      *map(runner, loads), rounds=options.rounds, steps=options.steps
  )
  print(f"step: {found[0]:.4f} s padded, {found[1]:.4f} s packed: "
        f"{found[2]:.2f} times as fast")


def compare(options) -> None:
  """Runs TRL and this library in turns and prints the ratios."""
  for prompt in (options.prompt, 0):
    _compare(options, prompt)


def _compare(options, prompt: int) -> None:
  fields = workloads.MODELS["test" if options.tiny else "tiny"]
  reference = transformer.Transformer(**fields)
  lengths = np.full((options.pairs, 2), options.length)
  rows = rows_of(lengths, fields["vocab_size"], prompt=prompt)
  load = make_load(transformer_model(fields), rows)
  chosen, rejected = (
      [row.sequences[i].tolist() for row in rows] for i in range(2)
  )
  arguments = dict(
      fields=fields,
      chosen=chosen,
      rejected=rejected,
      centre=base.get_config().loss.centre,
      norm_epsilon=reference.norm_epsilon,
      rope_base=reference.rope_base,
      threads=len(os.sched_getaffinity(0)),
      options=json.loads(options.peer_options),
  )
  count = sum(x.size for x in jax.tree.leaves(load.state.best))
  print(f"\n{options.pairs} pairs of 2 x {options.length} tokens, the first "
        f"{prompt} of a pair in common: {lengths.sum()} tokens, of which "
        f"{np.sum(load.batch['segments'] > 0)} are computed, with "
        f"{load.operations() / 1e9:.2f} GFLOP a step")
  with peer.Peer(options.peer_python, arguments, PEER) as other:
    peer.check_same(other, count)
    slow, fast, times = ratio(
        other.run, runner(load), rounds=options.rounds, steps=options.steps
    )
  met = "met" if times >= TARGET else "MISSED"
  print(f"{other.about}")
  print(f"{fast:.4f} s against {slow:.4f} s: {times:.2f} times as fast; "
        f"target: at least {TARGET:g} ({met})")


def parse(argv):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add("--part", choices=["ensembles", "packing"], help="only this")
  add("--pairs", type=int, default=16)
  add("--length", type=int, default=128, help="of a sequence, its prompt too")
  add("--prompt", type=int, default=64, help="tokens of a pair's prompt")
  add("--cores", type=int, help="of the CPU, for us and for the peer")
  add("--tiny", action="store_true", help="what tests run")
  add("--peer", choices=["trl"], help="only this, in turns with us")
  add("--peer_python", default=os.environ.get(peer.VARIABLE))
  add("--peer_options", default="{}", help="fields of its config, as JSON")
  add("--rounds", type=int, default=5)
  add("--steps", type=int, default=10, help="of each turn")
  return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
  options = parse(argv)
  peer.prepare(options)
  peer.require_cpu(options)
  if options.peer:
    compare(options)
    return
  if options.part in (None, "ensembles"):
    ensembles(options)
  if options.part in (None, "packing"):
    packing(options)


if __name__ == "__main__":
  commands.keep_freed_memory()
  main()
