"""What the operator, the serving runtime and the trainer share: artifact, metric names, token."""
