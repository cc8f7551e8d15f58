"""A prediction request from its body to its answer: read, validated, joined, predicted, written."""
