"""Metrics in: the only place that reads what pods and metrics backends say."""
