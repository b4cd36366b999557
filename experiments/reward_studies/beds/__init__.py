"""Toy data whose true reward is known, shared by the studies."""
