"""Pure construction of child objects: deterministic names, whole manifests."""
