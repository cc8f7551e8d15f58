"""The serving container: loads one verified artifact and answers prediction requests.

    HTTP (protocol.py) → routes (inference.py, backstage.py) → validation → joining → model
                                                                              ↓
                                                       metrics ← counting ← predictions, outcomes

One event loop parses and answers; one thread predicts; one thread counts. Nothing here knows the
cluster: settings come from the environment, the artifact from a URI.
"""
