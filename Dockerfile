# Five images: operator, serving, serving-onnx, serving-tables, training (`--target`). They run as a
# user without a name, on a read-only root file system, and share their layers:
# base -> model -> serving with tracing -> serving-onnx and serving-tables, and model -> training.
# Dependencies are installed before the source is copied, so that a change of the source costs
# seconds. BASE is any image with python3 >= 3.11 and its venv module.
ARG BASE=docker.io/library/python:3.12-slim

FROM ${BASE} AS base
ENV PATH=/opt/trimtab/bin:/opt/package/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/package \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
RUN python3 -m venv /opt/trimtab
WORKDIR /src
# the lock file is optional (hence the pattern): without it the newest allowed versions are taken
COPY pyproject.toml operator/requirements.loc[k] ./
RUN touch requirements.lock && printf '%s\n' \
    'import sys, tomllib' \
    'project = tomllib.load(open("pyproject.toml", "rb"))["project"]' \
    'extra = project["optional-dependencies"]' \
    'lists = {' \
    '    "operator": extra["operator"],' \
    '    "model": [line for line in extra["serving"] if line in extra["training"]],' \
    '    "serving": extra["serving"] + extra["grpc"],' \
    '    "tracing": extra["tracing"],' \
    '    "onnx": extra["onnx"],' \
    '    "tables": extra["tables"],' \
    '    "training": extra["training"] + extra["onnx"] + extra["tables"],' \
    '}' \
    'print(*lists[sys.argv[1]], sep="\n")' > requirements.py

# What only the operator needs (kopf, kubernetes) stays out of the other two.
FROM base AS operator-dependencies
RUN python requirements.py operator > operator.txt && \
    pip install --no-cache-dir -c requirements.lock -r operator.txt

FROM base AS model
RUN python requirements.py model > model.txt && \
    pip install --no-cache-dir -c requirements.lock -r model.txt

FROM model AS serving-dependencies
# Served without docstrings and assertions (-OO): 17 MiB less in each pod. The root file system is
# read-only, so everything is compiled here, the standard library as well.
RUN python requirements.py serving > serving.txt && \
    pip install --no-cache-dir -c requirements.lock -r serving.txt && \
    python -OO -m compileall -q -j 0 /opt/trimtab \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

# Spans, for whoever sets an endpoint; nothing of it is imported otherwise.
FROM serving-dependencies AS tracing-dependencies
RUN python requirements.py tracing > tracing.txt && \
    pip install --no-cache-dir -c requirements.lock -r tracing.txt && \
    python -OO -m compileall -q -j 0 /opt/trimtab

FROM tracing-dependencies AS onnx-dependencies
RUN python requirements.py onnx > onnx.txt && \
    pip install --no-cache-dir -c requirements.lock -r onnx.txt && \
    python -OO -m compileall -q -j 0 /opt/trimtab

# With their docstrings (-O): XGBoost and LightGBM make classes out of them at import.
# LightGBM asks the system for libgomp; a slim base has none, and scikit-learn brings one. With the
# very same file both share one pool of threads.
FROM tracing-dependencies AS tables-dependencies
ENV LD_LIBRARY_PATH=/opt/trimtab/gomp
RUN python requirements.py tables > tables.txt && \
    pip install --no-cache-dir -c requirements.lock -r tables.txt && \
    mkdir /opt/trimtab/gomp && \
    ln -s /opt/trimtab/lib/python3.*/site-packages/scikit_learn.libs/libgomp-* \
      /opt/trimtab/gomp/libgomp.so.1 && \
    python -O -m compileall -q -j 0 /opt/trimtab \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

FROM model AS training-dependencies
ENV LD_LIBRARY_PATH=/opt/trimtab/gomp
RUN python requirements.py training > training.txt && \
    pip install --no-cache-dir -c requirements.lock -r training.txt && \
    mkdir /opt/trimtab/gomp && \
    ln -s /opt/trimtab/lib/python3.*/site-packages/scikit_learn.libs/libgomp-* \
      /opt/trimtab/gomp/libgomp.so.1

# The package itself, in a folder of its own: one small layer, the same in all three images.
FROM base AS package
RUN pip install --no-cache-dir "setuptools>=77"
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN pip install --no-cache-dir --no-deps --no-build-isolation --target /opt/package . && \
    python -OO -m compileall -q /opt/package && python -O -m compileall -q /opt/package

FROM operator-dependencies AS operator
COPY --from=package /opt/package /opt/package
WORKDIR /
USER 65532:65532
ENTRYPOINT ["python", "-m", "trimtab.handlers.main"]

FROM tracing-dependencies AS serving
COPY --from=package /opt/package /opt/package
WORKDIR /
USER 65532:65532
ENTRYPOINT ["python", "-OO", "-m", "trimtab.serving"]

FROM onnx-dependencies AS serving-onnx
COPY --from=package /opt/package /opt/package
WORKDIR /
USER 65532:65532
ENTRYPOINT ["python", "-OO", "-m", "trimtab.serving"]

FROM tables-dependencies AS serving-tables
COPY --from=package /opt/package /opt/package
WORKDIR /
USER 65532:65532
ENTRYPOINT ["python", "-O", "-m", "trimtab.serving"]

FROM training-dependencies AS training
COPY --from=package /opt/package /opt/package
WORKDIR /
USER 65532:65532
ENTRYPOINT ["python", "-m", "trimtab.training"]
