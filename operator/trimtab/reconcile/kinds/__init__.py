"""Observe and act, a module a kind."""
