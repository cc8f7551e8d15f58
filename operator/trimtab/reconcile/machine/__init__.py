"""What turns events into passes: cache, queue, Lease, resync."""
