"""Where decisions are told, a file each; the list is in `reconcile.announce`."""
