"""Start-up and events in; nothing else."""
