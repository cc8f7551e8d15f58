"""A DriftPolicy run over what was recorded: the operator's own verdicts, without a cluster."""
