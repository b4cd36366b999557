"""What the commands share: flags whose mistakes are one line, no traceback."""

import runpy
import sys

from absl import app


def parse_flags(argv: list[str]) -> list[str]:
  """For `app.run(main, flags_parser=parse_flags)`.

  A config field that does not exist ends the command with one line that
  names it and the fields that there are.
  """
  try:
    return app.parse_flags_with_usage(argv)
  except (AttributeError, KeyError, TypeError) as error:
    sys.exit(f"error: {_unknown_field(argv) or error}")


def _unknown_field(argv: list[str]) -> str | None:
  """The first `--config.a.b=...` that the config file does not have."""
  files = [x.split("=", 1)[1] for x in argv if x.startswith("--config=")]
  if not files:
    return None
  config = runpy.run_path(files[-1].split(":")[0])["get_config"]()
  for argument in argv:
    if argument.startswith("--config."):
      node, names = config, argument.split("=")[0].split(".")[1:]
      for i, name in enumerate(names):
        if not hasattr(node, "keys") or name not in node:
          where = ".".join(["config", *names[: i + 1]])
          known = sorted(node) if hasattr(node, "keys") else "none"
          return f"{where} is no field; choose from {', '.join(known)}."
        node = node[name]
  return None
