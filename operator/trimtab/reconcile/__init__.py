"""Observe, decide, act: one module per kind, the cache and the keyed work queue."""
