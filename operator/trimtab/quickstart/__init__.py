"""The quick start's own programs: digits in pools that never overlap, three versions, a load.

    publish: v1 good, v2 clearly worse, v3 good → artifacts in the store
    load:    requests at a steady rate, true labels by token, images that can be rotated
    label:   newly labelled rows, for retraining

They run inside the training image, beside the project's deployments; nothing imports them.
"""
