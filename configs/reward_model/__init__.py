"""Configs: `get_config(size)` with the sizes small and tiny."""
