"""Estimators of scikit-learn out of files: what may be loaded, and what they answer.

One rule for training, which measures a model, and for serving, which runs it.
"""
