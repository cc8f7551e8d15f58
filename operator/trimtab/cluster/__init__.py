"""The only Kubernetes I/O: a port of domain verbs and its implementation."""
