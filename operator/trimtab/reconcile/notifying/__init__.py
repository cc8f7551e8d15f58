"""Notifications: decisions that are in status are told to destinations, in nobody's way."""
