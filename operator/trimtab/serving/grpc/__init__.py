"""The same protocol by gRPC, on a port of its own. Imported only where that port is wanted."""
