"""HTTP/1.1 on a listening socket: connections, their bounds, and what an application answers.

Knows no model: an application (`messages.py`) is all that it is given.
"""
