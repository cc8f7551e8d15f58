"""Decisions about a Deployment: what is wanted, tried, judged, promoted, taken back."""
