"""Who gets which share of the requests, and what carries it out."""
