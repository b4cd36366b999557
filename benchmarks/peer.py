"""Another library's training step, in its own Python, in turns with ours.

The peer is a program that prints one line of JSON about itself when it is
ready. Each line it reads is a number of steps; it runs them and answers with
one line of their times. It ends when its input does.
"""

import json
import os
import pathlib
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import jax

VARIABLE = "REWARDJAX_PEER_PYTHON"
SCRIPT = pathlib.Path(__file__).parent / "peers" / "trl_grpo.py"
HOW = f"""\
TRL runs in an environment of its own. Make one:
  python -m venv .peer && .peer/bin/pip install torch trl transformers gguf
and pass --peer_python=.peer/bin/python, or set {VARIABLE}."""
CPU_ONLY = """\
--peer compares on CPUs: on accelerators TRL samples through vLLM, which this
does not set up. Set JAX_PLATFORMS=cpu."""
# At least, and the aim: times TRL's tokens per second, on two cores.
TARGETS = {"tiny": (2.0, 3.0), "smollm2": (1.5, 2.0)}


def prepare(options) -> None:
  """Before jax starts its threads: both sides get the same processors.

  Args:
    options: of a command with --peer, --peer_python and --cores.

  Raises:
    SystemExit: if a peer is asked for and there is none.
  """
  if options.peer and not options.peer_python:
    raise SystemExit(HOW)
  if options.cores:
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, cores)


def require_cpu(options) -> None:
  """Ends the command where a peer would be compared on an accelerator."""
  if options.peer and jax.default_backend() != "cpu":
    raise SystemExit(CPU_ONLY)


class Times(NamedTuple):
  """Seconds of each of some steps."""

  total: list[float]
  sampling: list[float]  # the part of it that draws tokens

  @property
  def median(self) -> dict[str, float]:
    """Of steps, of sampling, and of all else."""
    rest = [x - y for x, y in zip(self.total, self.sampling)]
    columns = dict(step=self.total, sampling=self.sampling, rest=rest)
    return {name: statistics.median(x) for name, x in columns.items()}


class Peer:
  """The running program; a context manager that ends it.

  Attributes:
    about: what it said of itself: versions, parameters, threads, settings.
  """

  def __init__(
      self,
      python: str,
      arguments: dict,
      script: pathlib.Path = SCRIPT,
  ):
    """Starts it, and waits until it is ready.

    Raises:
      SystemExit: if there is no such Python, or the program ends.
    """
    threads = str(arguments["threads"])
    env = os.environ | dict(
        OMP_NUM_THREADS=threads,
        MKL_NUM_THREADS=threads,
        TOKENIZERS_PARALLELISM="false",
        CUDA_VISIBLE_DEVICES="",
        HF_HUB_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
    )
    env.pop("PYTHONPATH", None)
    self._errors = tempfile.TemporaryFile("w+")
    try:
      self._process = subprocess.Popen(
          [python, str(script), json.dumps(arguments)],
          stdin=subprocess.PIPE,
          stdout=subprocess.PIPE,
          stderr=self._errors,
          text=True,
          env=env,
      )
    except OSError as error:
      self._errors.close()
      raise SystemExit(f"{python}: {error.strerror}.\n{HOW}") from error
    try:
      self.about = self._answer()
    except BaseException:
      self.__exit__()
      raise

  def _answer(self) -> dict:
    line = self._process.stdout.readline()
    if line:
      return json.loads(line)
    code = self._process.wait()
    self._errors.seek(0)
    tail = "".join(self._errors.readlines()[-20:])
    raise SystemExit(f"The peer ended with exit code {code}:\n{tail}\n{HOW}")

  def run(self, count: int) -> Times:
    """Runs `count` more steps."""
    try:
      self._process.stdin.write(f"{count}\n")
      self._process.stdin.flush()
    except BrokenPipeError:
      pass  # the answer says why
    return Times(**self._answer())

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    try:
      self._process.stdin.close()
    except BrokenPipeError:
      pass
    try:
      self._process.wait(timeout=60)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()
    self._process.stdout.close()
    self._errors.close()


def check_same(other: Peer, parameters: int) -> None:
  """Raises SystemExit if the peer's model is not of the size of ours."""
  theirs = other.about["parameters"]
  if theirs != parameters:
    raise SystemExit(f"The peer trains {theirs} parameters, we {parameters}.")


class Round(NamedTuple):
  """One turn of each."""

  ours: Times
  theirs: Times

  def ratio(self, column: str) -> float:
    """How many times as fast we are."""
    return self.theirs.median[column] / self.ours.median[column]


def in_turns(
    ours: Callable[[int], Times],
    theirs: Callable[[int], Times],
    *,
    rounds: int,
    steps: int,
    warm_up: int,
) -> list[Round]:
  """Runs `steps` of ours, then as many of theirs, `rounds` times.

  What else the machine does meets both. The first `warm_up` steps of each
  are not counted.
  """
  ours(warm_up), theirs(warm_up)
  return [Round(ours(steps), theirs(steps)) for _ in range(rounds)]


def report(
    about: dict,
    rounds: list[Round],
    tokens: int,
    targets: tuple[float, float] | None,
) -> str:
  """Medians over all steps, and ratios: medians over rounds."""
  join = lambda times: Times(*(sum(x, []) for x in zip(*times)))
  whose = {
      "rewardjax": join([r.ours for r in rounds]),
      about["name"]: join([r.theirs for r in rounds]),
  }
  lines = [
      f"{about}",
      "",
      "| | step, s | sampling, s | rest, s | new tokens/s |",
      "|---|---|---|---|---|",
  ]
  for name, times in whose.items():
    cells = [f"{x:.3f}" for x in times.median.values()]
    rate = tokens / times.median["step"]
    lines.append(f"| {name} | {' | '.join(cells)} | {rate:.0f} |")
  ratios = {
      column: [r.ratio(column) for r in rounds]
      for column in ("step", "sampling", "rest")
  }
  middle = {name: statistics.median(x) for name, x in ratios.items()}
  cells = [f"{x:.2f}" for x in middle.values()]
  lines.append(f"| ratio | {' | '.join(cells)} | {middle['step']:.2f} |")
  low, high = min(ratios["step"]), max(ratios["step"])
  lines.append(
      f"\n{middle['step']:.2f} times as fast ({low:.2f} to {high:.2f} over "
      f"{len(rounds)} turns)"
  )
  # What other programs take from the machine touches these the least.
  ours, theirs = (min(times.total) for times in whose.values())
  lines.append(
      f"fastest steps: {ours:.3f} s and {theirs:.3f} s, {theirs / ours:.2f} "
      "times as fast"
  )
  if targets:
    least, aim = targets
    met = "met" if middle["step"] >= least else "MISSED"
    lines.append(f"target: at least {least:g} ({met}), the aim is {aim:g}")
  return "\n".join(lines)
