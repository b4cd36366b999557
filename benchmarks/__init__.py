"""Measurements that back the budgets of the documentation."""
