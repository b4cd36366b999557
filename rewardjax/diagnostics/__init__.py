"""What a policy or a reward has become: measured, never trained on."""

from rewardjax.diagnostics import mass_balance, pass_at_k

__all__ = ["mass_balance", "pass_at_k"]
