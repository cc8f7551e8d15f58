"""Trimtab keeps machine-learning models good after they ship."""

__version__ = "0.1.0"
