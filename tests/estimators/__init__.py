"""Every estimator of the locked scikit-learn: stored, loaded as serving loads it, and asked.

`python -m tests.estimators` measures all and writes what the page of the reference shows.
"""
