"""The trainer: rows in, a judged and verifiable version of a model out.

    data → checks → split → fit → calibrate, evaluate, count → compare with the champion → artifact

`python -m trimtab.training` runs it inside a Job; `publish` is the same artifact as a library call.
"""

from trimtab.training.publishing import Published, publish
from trimtab.training.repairing import fine_tune, recalibrate

__all__ = ["Published", "fine_tune", "publish", "recalibrate"]
