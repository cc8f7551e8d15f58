"""Ways to bring a new version to users, a file each."""
