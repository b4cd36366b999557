"""Sampling and learning on separate devices, a fixed number of steps apart.

    sampler, learner = split_devices(2)
    program = make_async_program(sample, learn, lag=1, sampler_sharding=...)
    result = run_loop(program, program.init(state), batches, ...)

Step t learns from samples of the parameters that t - lag steps had made. The
lag is a schedule and not a race, so a run repeats bit for bit and resumes
anywhere. Nothing waits in threads: calls return before the devices are done,
and with lag >= 1 the samples of step t + 1 and the update of step t need
nothing of each other.

The learner sees samples of older parameters: weigh them
(`recipes.decoupled.decouple`).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from rewardjax.core import checks
from rewardjax.training import loop


class Devices(NamedTuple):
  """Who samples and who learns."""

  sampler: list[jax.Device]
  learner: list[jax.Device]


class AsyncState(NamedTuple):
  """All that a run changes; what a checkpoint holds.

  views: what the sampler was sent, oldest first, on its devices.
  """

  learner: PyTree
  views: tuple[PyTree, ...]
  step: np.int32  # on the host: it chooses among the views


def split_devices(
    num_sampler: int, devices: Sequence[jax.Device] | None = None
) -> Devices:
  """The last `num_sampler` devices sample, the others learn.

  Args:
    num_sampler: 0 lets all devices do both, one after the other.
    devices: all devices if None.

  Raises:
    ValueError: if nothing would be left to learn on.
  """
  devices = list(jax.devices() if devices is None else devices)
  if not 0 <= num_sampler < len(devices):
    raise ValueError(
        "split_devices: num_sampler must be at least 0 and less than the "
        f"number of devices, {len(devices)}, got {num_sampler}."
    )
  if not num_sampler:
    return Devices(devices, devices)
  return Devices(devices[-num_sampler:], devices[:-num_sampler])


def version(step: int, *, lag: int, every: int = 1) -> int:
  """The step whose parameters sample for `step`.

  At least `lag` and at most lag + every - 1 steps old, but for the first.
  """
  return max(step - lag, 0) // every * every


class AsyncProgram:
  """`(state, batches) -> (state, metrics)`; see `make_async_program`."""

  def __init__(self, sample, learn, view, transfer, deliver, lag, every):
    self._sample, self._learn, self._view = sample, learn, view
    self._transfer, self._deliver = transfer, deliver
    self._lag, self._every = lag, every

  @property
  def num_views(self) -> int:
    """How many copies of the parameters the sampler's devices hold."""
    return -(-self._lag // self._every) + 1

  def init(self, learner: PyTree) -> AsyncState:
    """The state before the first step; `learner` is placed already."""
    views = (self._send(learner),) * self.num_views
    return AsyncState(learner, views, np.int32(0))

  def __call__(
      self, state: AsyncState, batches: PyTree
  ) -> tuple[AsyncState, dict[str, Array]]:
    """As many steps as `batches` lead with; metrics are reduced over them."""
    rows = []
    for i in range(jax.tree.leaves(batches)[0].shape[0]):
      batch = jax.tree.map(lambda x: x[i], batches)  # noqa: B023
      state, metrics = self._step(state, batch)
      rows.append(metrics)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *rows)
    return state, loop.reduce_chunk(stacked)

  def _step(self, state, batch):
    now = int(state.step)
    used = version(now, lag=self._lag, every=self._every)
    # The newest view was sent at the last multiple of `every`.
    back = now // self._every - used // self._every
    view = state.views[self.num_views - 1 - back]
    experience = self._sample(view, batch, state.step)
    experience = self._deliver(experience)
    learner, metrics = self._learn(state.learner, experience)
    views, step = state.views, np.int32(now + 1)
    if step % self._every == 0:
      views = (*views[1:], self._send(learner))
    metrics = metrics | {"staleness": np.float32(now - used)}
    return AsyncState(learner, views, step), metrics

  def _send(self, learner):
    return self._transfer(self._view(learner))


def make_async_program(
    sample: Callable[[PyTree, Any, Any], PyTree],
    learn: Callable[[PyTree, PyTree], tuple[PyTree, dict[str, Array]]],
    *,
    lag: int,
    every: int = 1,
    view: Callable[[PyTree], PyTree] = lambda state: state.params,
    sampler_sharding: Any = None,
    learner_sharding: Any = None,
) -> AsyncProgram:
  """Builds a program for `loop.run_loop`; start it from its `init(state)`.

  Args:
    sample: compiled `(view, batch, step) -> experience`; fold `step`, a host
      integer counted from 0, into its key. Anything that reads text on the
      host may follow: the learner works on meanwhile.
    learn: compiled `(state, experience) -> (state, metrics)`, which may
      donate its state (`loop.compile_chunk`).
    lag: steps between the parameters that sample and those that learn; 0
      gives the synchronous algorithm.
    every: steps between transfers of parameters to the sampler.
    view: what of a learner's state the sampler must know.
    sampler_sharding: one sharding, or one for each leaf of the view; None
      leaves it on the learner's devices.
    learner_sharding: the same, for the experience.

  Returns:
    An `AsyncProgram`. Its metrics are those of `learn` and `staleness`, in
    steps.

  Raises:
    ValueError: if `lag` < 0 or `every` < 1.
  """
  checks.at_least("make_async_program", 0, lag=lag)
  checks.at_least("make_async_program", 1, every=every)

  def deliver(experience):
    if learner_sharding is None:
      return experience
    return jax.device_put(experience, learner_sharding)

  def transfer(view):
    where = sampler_sharding
    if where is None:
      where = jax.tree.map(lambda x: x.sharding, view)
    # A copy, even on the same device: the learner may donate its own.
    return jax.device_put(view, where, may_alias=False)

  return AsyncProgram(sample, learn, view, transfer, deliver, lag, every)
