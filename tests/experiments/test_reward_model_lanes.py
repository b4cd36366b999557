"""Units in lanes, and that they change neither losses nor gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.reward_model import base
from experiments import (
    reward_model_backbones,
    reward_model_batches,
    reward_model_lanes,
    reward_model_loop,
)
from experiments.reward_model_backbones import Backbone, Model
from experiments.reward_model_lanes import Encoded, Shape, share
from rewardjax.models import lora, transformer
from rewardjax.models.heads import VectorHead
from rewardjax.training.state import TrainState


def row_of(*sequences, **targets):
  """Read at the ends."""
  found = tuple(np.array(x, np.int32) for x in sequences)
  ends = tuple((i, len(x) - 1) for i, x in enumerate(found))
  return Encoded(found, ends, dict(weight=1.0, user=0) | targets)


def test_a_lane_holds_a_prefix_once_by_hand():
  """Two answers behind their prompt; then one sequence of another row."""
  first = share(row_of([5, 6, 7, 1], [5, 6, 7, 2, 3]))
  second = share(row_of([8, 9]))
  assert first.prefix == 3 and second.prefix == 0
  assert reward_model_lanes.lengths_of([first, None, second]) == [6, 2]
  assert reward_model_lanes.needed([first, None, second], 8) == (1, 3)
  shape = Shape(1, 1, 9, 3, 2, 3, ("weight",))
  found = reward_model_lanes.pack([first, None, second], shape)
  found = {name: x[0].tolist() for name, x in found.items()}
  assert found["tokens"] == [[5, 6, 7, 1, 2, 3, 8, 9, 0]]
  assert found["segments"] == [[1, 1, 1, 2, 3, 3, 4, 4, 0]]
  assert found["parents"] == [[0, 0, 0, 1, 1, 1, 0, 0, 0]]
  assert found["places"] == [[3, 5, 7]]
  assert found["ends"] == [[0, 1], [0, 0], [2, 0]]
  assert found["mask"] == [[True, True], [False, False], [True, False]]


def test_only_what_is_worth_it_is_shared():
  ten = list(range(1, 11))
  assert share(row_of([*ten, 11], [*ten, 12])).prefix == 10
  # One's own token remains, also where one is the beginning of the other.
  assert share(row_of(ten, [*ten, 1])).prefix == 9
  assert share(row_of(ten, ten)).prefix == 9
  # Readouts stand behind it.
  early = row_of(ten, ten)._replace(readouts=((0, 4), (1, 9)))
  assert share(early).prefix == 4
  # 3 of 24 tokens are saved, then 2 of 24.
  long = [*range(20, 29)]
  assert share(row_of([1, 2, 3, *long], [1, 2, 3, *long[::-1]])).prefix == 3
  long = [*range(20, 30)]
  assert share(row_of([1, 2, *long], [1, 2, *long[::-1]])).prefix == 0
  assert share(row_of(ten)).prefix == 0


def test_units_are_at_most_twice_as_long_as_a_sequence():
  """Seven answers of 4 behind a prompt of 4: 3 of them make 16."""
  prompt = [1, 2, 3, 4]
  row = share(row_of(*([*prompt, 5 + i, 6, 7, 8] for i in range(7))))
  assert reward_model_lanes.units(row) == [[0, 1, 2], [3, 4, 5], [6]]
  assert reward_model_lanes.lengths_of([row]) == [16, 16, 8]


def rankings(num_rows=6):
  """Rows of two to five answers of different lengths to prompts."""
  rng = np.random.default_rng(0)
  draw = lambda n: rng.integers(1, 19, n).tolist()
  rows = []
  for i in range(num_rows):
    prompt = draw(6 if i else 0)  # the first has none
    answers = [prompt + draw(rng.integers(2, 8)) for _ in range(2 + i % 4)]
    ranks = tuple(range(len(answers)))
    rows.append(row_of(*answers, ranks=ranks))
  return rows


def pairs():
  return [
      row_of(*row.sequences[:2], outcome=1 - 2 * (i % 2))
      for i, row in enumerate(rankings())
  ]


MODEL = transformer.Transformer(
    vocab_size=19, width=16, num_layers=2, num_heads=4, mlp_width=24,
    num_kv_heads=2,
)


def adapted():
  """All kernels frozen beside their adapters."""
  plain = reward_model_backbones.of_transformer(MODEL, None)
  frozen = drawn(Model(plain, VectorHead(1), 1))["backbone"]

  def init(key):
    return lora.init_lora(key, frozen, rank=2)

  def apply(low, frozen, *rows):
    return transformer.features(MODEL, lora.attach(frozen, low), *rows)

  return plain._replace(init=init, apply=apply, frozen=frozen)


BACKBONES = {
    "all": lambda: reward_model_backbones.of_transformer(MODEL, None),
    "adapters": adapted,
}


def drawn(model):
  """Parameters from NumPy: no program is compiled for them."""
  init = lambda key: reward_model_backbones.init(model, key)
  shapes = jax.eval_shape(init, jax.random.key(0))
  draw = np.random.default_rng(2).normal
  number = lambda x: jnp.asarray(0.35 * draw(size=x.shape), x.dtype)
  return jax.tree.map(number, shapes)


def update(kind, backbone, rows, num_blocks, monkeypatch):
  """Parameters after a step of gradient descent, and its metrics."""
  config = base.get_config("tiny")
  config.num_microbatches, config.patience = num_blocks, 0
  config.loss.name = {"pairs": "bradley_terry", "rankings": "listwise"}[kind]
  descent = optax.sgd(1.0)
  monkeypatch.setattr(reward_model_loop, "optimizer", lambda config: descent)
  model = Model(backbone, VectorHead(1), 1)
  batch = reward_model_batches.cover(
      rows, batch_size=len(rows), num_blocks=num_blocks
  )
  step = reward_model_loop.make_step(config, model, kind, backbone.frozen)
  train = TrainState(drawn(model), descent.init({}), jnp.zeros((), jnp.int32))
  member = reward_model_loop.Member(train, *[None] * 4, jax.random.key(0))
  batch = jax.tree.map(lambda x: x[0], batch)
  member, metrics = jax.device_get(jax.jit(step)(member, batch))
  return np.sum(batch["segments"] > 0), member.train.params, metrics


@pytest.mark.parametrize("kind, backbone, num_blocks", [
    ("pairs", "all", 2), ("rankings", "all", 1), ("rankings", "adapters", 2)
])
def test_sharing_changes_neither_loss_nor_update(
    kind, backbone, num_blocks, monkeypatch
):
  """Also in two microbatches: only the tokens computed are fewer."""
  rows = pairs() if kind == "pairs" else rankings()
  shared = [share(row) for row in rows]
  assert [x.prefix > 0 for x in shared].count(True) >= 3
  (many, *expected), (few, *actual) = (
      update(kind, BACKBONES[backbone](), x, blocks, monkeypatch)
      for x, blocks in ((rows, 1), (shared, num_blocks))
  )
  assert few < many
  close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
  jax.tree.map(close, actual, expected)


def test_a_network_that_cannot_share_is_given_what_it_was():
  """NaN where nothing stands reaches neither rewards nor gradients."""

  def apply(params, frozen, tokens, mask, segments):
    x = params["w"] * jnp.cumsum(tokens.astype(jnp.float32), axis=1)
    return jnp.where(mask, x, jnp.nan)[..., None]

  backbone = Backbone(lambda key: {"w": jnp.ones(())}, apply, None, packs=False)
  model = Model(backbone, VectorHead(1, use_bias=False), 1)
  rows = [row_of([1, 2], [1, 2, 4]), row_of([3]), None]
  shape = Shape(1, 3, 4, 3, 2, 1, ("weight",))
  batch = jax.tree.map(
      jnp.asarray, reward_model_lanes.pack(rows, shape, packs=False)
  )
  params = jax.eval_shape(
      lambda key: reward_model_backbones.init(model, key), jax.random.key(0)
  )
  ones = jax.tree.map(lambda x: jnp.ones(x.shape), params)

  def total(params):
    outputs = reward_model_backbones.read(model, params, None, batch)
    return jnp.sum(outputs), outputs[0, ..., 0]

  gradient, outputs = jax.jit(jax.grad(total, has_aux=True))(ones)
  np.testing.assert_allclose(outputs, [[3, 7], [3, 0], [0, 0]])
  assert gradient["backbone"]["w"] == 13
