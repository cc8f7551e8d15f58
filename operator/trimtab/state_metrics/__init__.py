"""Metrics of state: what Prometheus is told of an object of ours. Pure: objects in, text out."""
