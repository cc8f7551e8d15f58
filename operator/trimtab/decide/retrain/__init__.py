"""Decisions about a RetrainJob: from cause to version."""
