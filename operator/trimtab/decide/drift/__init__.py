"""Decisions about a DriftPolicy: windows judged, and what follows."""
