# Continuo in a container: what serving needs and no more, a user who is not root, the starter inside.
#   docker build -t continuo .                                  for a CPU
#   docker build -t continuo --build-arg TORCH_BUILD=cu128 .    with CUDA, for docker run --gpus all
#   docker run -p 5000:5000 -e CONTINUO_API_KEYS=secret -v continuo-models:/continuo/models \
#       -v continuo-cache:/cache --read-only --tmpfs /tmp continuo
# podman and buildah keep the health check with --format docker.
ARG BASE=python:3.11-slim-bookworm

# ---- what needs a compiler, or leaves rubbish behind
FROM ${BASE} AS builder

RUN apt-get update && apt-get install -y --no-install-recommends binutils gcc libc6-dev

# This build of torch and no other: an index that cannot be reached stops the build, instead of
# bringing CUDA's gigabytes from elsewhere.
ARG TORCH_BUILD=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/${TORCH_BUILD}
WORKDIR /continuo
# requirements-cluster.txt, for the nodes of a Ray cluster.
ARG REQUIREMENTS=requirements.txt
COPY requirements*.txt requirements.lock ./
# strip: the names of functions, for a debugger, are a fifth of torch's libraries.
RUN python3 -m venv /venv \
    && torch=$(grep '^torch==' requirements.txt) \
    && /venv/bin/pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" "$torch+$TORCH_BUILD" \
    && /venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
    && /venv/bin/pip install --no-cache-dir -r "$REQUIREMENTS" \
    && cd /venv/lib/python3.*/site-packages \
    && rm -rf torch/test torch/include pip* \
    && find torch/bin -type f ! -name torch_shm_manager -delete \
    && strip --strip-unneeded torch/lib/libtorch_cpu.so torch/lib/libtorch_python.so \
    && find . -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +

COPY pyproject.toml LICENSE NOTICE gunicorn.conf.py ./
COPY app app
# The arithmetic, for every processor that the image may meet.
RUN /venv/bin/python -m app.gpt2.native.build
RUN python3 -m pip --python /venv/bin/python install --no-cache-dir --no-deps --no-build-isolation -e .

# ---- what runs
FROM ${BASE}

RUN useradd --create-home --uid 1000 continuo
WORKDIR /continuo
COPY --from=builder /venv /venv
COPY --from=builder /continuo /continuo
COPY templates templates
COPY static static
COPY deployment/gunicorn.conf.py deployment/
COPY --chown=continuo:continuo models models
# Volumes over these two get what lies here, and its owner.
RUN chown continuo:continuo /continuo/models && install -d -o continuo -g continuo /cache

USER continuo
# The grace is shorter than the ten seconds that docker stop waits.
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    CONTINUO_HOST=0.0.0.0 CONTINUO_PORT=5000 CONTINUO_GRACE=8 \
    CONTINUO_CACHE=/cache CONTINUO_RUNTIME=/tmp
EXPOSE 5000
VOLUME ["/continuo/models", "/cache"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD \
    ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/readyz', timeout=2)"]
# gunicorn takes this process's place, so SIGTERM reaches it and drains.
STOPSIGNAL SIGTERM
CMD ["continuo", "serve"]
