"""`trimtab`: what a person asks, on a cluster or without one."""
