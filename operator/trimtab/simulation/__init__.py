"""A cluster in memory with a clock that only moves when told, for tests and `simulate`."""
