"""A second version that predicts some of the rows, too, so that tokens carry both answers.

It harms nobody: loaded after Ready where memory allows it, asked within a share of the time that
is spent predicting, and given up at the first sign that it costs more than that.
"""
