"""Small worlds whose true reward is known, shared by the studies."""
