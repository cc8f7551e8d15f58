"""Commands without a cluster: they judge with the code of the operator, and need its packages."""
