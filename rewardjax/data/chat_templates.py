"""Chat templates: programs of a checkpoint, run in a sandbox."""

import datetime
import json
from collections.abc import Callable


def compiled(template: str) -> Callable[..., str]:
  """A function from `messages` and other variables to the text of a chat.

  Raises:
    ValueError: with jinja2's or the template's message, if it is no template,
      or, when called, if it fails.
  """
  import jinja2
  from jinja2 import sandbox

  environment = sandbox.ImmutableSandboxedEnvironment(
      trim_blocks=True,
      lstrip_blocks=True,
      extensions=["jinja2.ext.loopcontrols"],
  )
  # What templates are written against; jinja2's own tojson escapes for HTML.
  environment.filters["tojson"] = _to_json
  environment.globals["raise_exception"] = _raise_exception
  environment.globals["strftime_now"] = _strftime_now
  try:
    program = environment.from_string(template)
  except jinja2.TemplateError as error:
    raise ValueError(f"chat: the template is damaged: {error}.") from error

  def render(**variables) -> str:
    try:
      return program.render(**variables)
    except (jinja2.TemplateError, TypeError) as error:
      raise ValueError(f"chat: the template failed: {error}") from error

  return render


def _to_json(x, indent=None, ensure_ascii=False, **options):
  return json.dumps(x, indent=indent, ensure_ascii=ensure_ascii, **options)


def _raise_exception(message):
  import jinja2

  raise jinja2.TemplateError(message)


def _strftime_now(layout):
  return datetime.datetime.now().strftime(layout)
