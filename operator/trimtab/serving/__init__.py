"""The serving container: loads one verified artifact and answers prediction requests.

    HTTP (http/) → routes (inference/, backstage.py) → validation → joining → model (model/)
                                                                                  ↓
                                              metrics ← counting (counting/) ← predictions, outcomes

One event loop parses and answers; one thread predicts; one thread counts. Nothing here knows the
cluster: settings come from the environment, the artifact from a URI.
"""
