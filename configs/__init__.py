"""Configs: `configs/<experiment>/<name>.py`, each with `get_config(size)`."""
