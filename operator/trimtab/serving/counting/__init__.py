"""What is counted, and the page that says it: requests, rows, outcomes, disagreements.

What rests on predictions belongs to the counting thread (`thread.py`), requests to the event loop.
"""
