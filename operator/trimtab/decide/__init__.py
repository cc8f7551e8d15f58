"""Pure decisions: a frozen snapshot and `now` in, a new status and actions out."""
