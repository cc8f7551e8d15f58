"""What holds for every ring."""

from hypothesis import settings

# A slow machine is no failure: speed is measured by the benchmarks.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
