"""Every estimator of the locked scikit-learn: published, served, and asked by HTTP.

`python -m tests.estimators` measures all and writes what the page of the reference shows.
"""
