"""Worlds whose true reward is known; every study of learned rewards uses one.

Pure functions of a key.
"""
