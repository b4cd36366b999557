"""One policy of a run as a Hugging Face folder, to be used elsewhere.

Run: python -m experiments.export_policy --workdir=runs/smollm2_lora \
         --output=smollm2_trained

Takes the newest checkpoint of `experiments.rlvr`. Adapters are added into the
kernels they belong to. `rewardjax.models.pretrained` and transformers read
the folder.
"""

import json
import pathlib
import sys

import jax
import ml_collections as mlc
from absl import app, flags, logging

from experiments import (
    choices,
    commands,
    rlvr_agents,
    rlvr_async,
    rlvr_config,
    rlvr_policy,
    rlvr_teacher,
    rlvr_teacher_config,
    tasks,
)
from rewardjax.models import lora, pretrained
from rewardjax.training import asynchronous
from rewardjax.training import mesh as meshes
from rewardjax.training.checkpoints import Checkpointer


def read_config(workdir: pathlib.Path) -> mlc.ConfigDict:
  """The config of the run that `workdir` holds."""
  path = workdir / "config.json"
  if not path.exists():
    raise FileNotFoundError(f"{path} is not there: --workdir holds no run.")
  return mlc.ConfigDict(json.loads(path.read_text()))


def read_agents(workdir: pathlib.Path, stage: str, setup, where, start):
  """Agents `[A, S]` of the newest checkpoint, and its step."""
  if start is None:
    start = rlvr_agents.describe_start(setup)
  taught = rlvr_teacher_config.is_on(setup.config)
  rooms = rlvr_teacher if taught else rlvr_agents
  state = rooms.describe_state(setup, where.learner, start)
  folder = workdir / "checkpoints" / stage
  found = None
  if folder.exists():  # reading must not make it
    with Checkpointer(folder) as checkpointer:
      found = checkpointer.restore(state)
  if found is None:
    raise FileNotFoundError(f"{folder} holds no checkpoint.")
  if taught:  # the agent that students start from
    return found.tree.promotion.student, found.step
  is_async = isinstance(found.tree, asynchronous.AsyncState)
  return (found.tree.learner if is_async else found.tree), found.step


def plain_params(setup: rlvr_policy.Setup, params):
  """The language model's parameters; adapters are merged into them."""
  policy = params["policy"]
  if setup.frozen is None:
    return policy
  return lora.merge(setup.frozen, policy, scale=setup.config.lora.scale)


def export(workdir: str, output: str, *, arm: str = "", seed: int = 0) -> str:
  """Writes the folder and returns what it holds, in one line.

  Args:
    workdir: of a run.
    output: made if missing.
    arm: of the run's config; "" if it has only one.
    seed: counted from 0.

  Raises:
    FileNotFoundError: if there is no run or no checkpoint.
    ValueError: naming the choices, for an arm or seed that is not there.
  """
  workdir = pathlib.Path(workdir)
  config = read_config(workdir)
  names = dict.fromkeys(rlvr_config.arm_configs(config))
  arm = arm or (next(iter(names)) if len(names) == 1 else "")
  choices.choose("arms", names, arm)
  if not 0 <= seed < config.num_seeds:
    raise ValueError(
        f"--seed must be in 0 .. {config.num_seeds - 1}, got {seed}."
    )
  tokenizer = tasks.make_tokenizer(config)
  # Whatever the run had, one device is enough to write a file.
  device = meshes.make_mesh(devices=jax.devices()[:1])
  where = rlvr_async.Meshes(device, device)
  groups = rlvr_agents.make_groups(config, tokenizer, where)
  stage, setup = next(x for x in groups.setups.items() if arm in x[1].arms)
  agents, step = read_agents(
      workdir, stage, setup, groups.meshes, groups.start
  )
  which = list(setup.arms).index(arm), seed
  params = jax.tree.map(lambda x: x[which], agents.train.params)
  context = getattr(tokenizer, "context_length", None)
  pretrained.export(
      output, setup.model, plain_params(setup, params), context_length=context
  )
  found = f"{output}: arm {arm}, seed {seed}, step {step}"
  if not hasattr(tokenizer, "save"):
    return (
        f"{found}; the model alone: config.task.tokenizer "
        f"{config.task.tokenizer!r} has no Hugging Face files."
    )
  tokenizer.save(output)
  return f"{found}, with its tokenizer."


def define_flags() -> None:
  """Only for the command: other commands define the same names."""
  flags.DEFINE_string("workdir", None, "Of a run.", required=True)
  flags.DEFINE_string("output", None, "The folder to write.", required=True)
  flags.DEFINE_string("arm", "", "Which arm; needed if there are several.")
  flags.DEFINE_integer("seed", 0, "Which seed, counted from 0.")


def main(argv):
  del argv
  logging.set_verbosity(logging.ERROR)  # Orbax tells of every file
  given = flags.FLAGS
  try:
    print(export(given.workdir, given.output, arm=given.arm, seed=given.seed))
  except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")


if __name__ == "__main__":
  define_flags()
  app.run(main, flags_parser=commands.parse_flags)
