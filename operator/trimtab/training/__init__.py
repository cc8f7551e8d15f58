"""The trainer: rows in, a judged and verifiable version of a model out.

    data → checks → split → fit → calibrate, evaluate, count → compare with the champion → artifact

`python -m trimtab.training` runs it inside a Job; `publish` is the same artifact as a library call.
"""

try:
    from trimtab.training.publishing import Published, publish
    from trimtab.training.repairing import fine_tune, recalibrate
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"trimtab.training needs packages that are not installed ({error.name}): "
        "pip install '.[training]' in Trimtab's source tree",
        name=error.name,
    ) from error

__all__ = ["Published", "fine_tune", "publish", "recalibrate"]
