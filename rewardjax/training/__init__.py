"""Mesh, step, loop, checkpoints, logs and reports: no formula lives here.

Modules are imported by name, `from rewardjax.training import step`, so that
nobody pays for a part (orbax, matplotlib, rich) that is not used.
"""
