"""Choosing among candidates at inference time."""

from rewardjax.search import voting

__all__ = ["voting"]
