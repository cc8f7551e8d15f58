"""Pure statistics on counts that add up over replicas and over time. No I/O, no clock, no state."""
