"""What `trimtab lint` says of manifests before they are applied."""
