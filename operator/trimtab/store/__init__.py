"""Artifacts as the operator reads them: a port and its implementation."""
