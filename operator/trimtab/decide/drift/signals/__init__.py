"""What a DriftPolicy can watch, a file each."""
