"""Choosing among candidates at inference time."""

from rewardjax.search import beam, tries, voting

__all__ = ["beam", "tries", "voting"]
