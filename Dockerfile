# Continuo in a container: the steps of the README, a user who is not root, the starter inside.
#   docker build -t continuo .                                     for a CPU
#   docker build -t continuo --build-arg TORCH_INDEX= .            with CUDA, for docker run --gpus all
#   docker run -p 5000:5000 -e CONTINUO_API_KEYS=secret -v continuo-models:/continuo/models continuo
FROM python:3.11-slim

# Where torch comes from; empty: PyPI, whose Linux wheels bring CUDA along.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 1000 continuo
WORKDIR /continuo

COPY requirements.txt .
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements.txt

COPY pyproject.toml LICENSE NOTICE gunicorn.conf.py ./
COPY app app
COPY templates templates
COPY static static
COPY deployment deployment
COPY models models
RUN pip install --no-cache-dir --no-deps -e .

USER continuo
# The grace is shorter than the ten seconds that docker stop waits.
ENV CONTINUO_HOST=0.0.0.0 CONTINUO_PORT=5000 CONTINUO_GRACE=8
EXPOSE 5000
# Mount models of your own beside the starter: a volume over models/ gets the starter's copy first.
VOLUME /continuo/models
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/readyz', timeout=2)"]
# gunicorn takes this process's place, so SIGTERM reaches it and drains.
STOPSIGNAL SIGTERM
CMD ["continuo", "serve"]
