# Kapelle on the CPU; with --build-arg TORCH=cuda for a machine with an NVIDIA card.
# BASE is any Debian with Python 3.11 and its venv module.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE}

# The compiler stays: the decoding step is compiled on the machine it runs on, for exactly that CPU (about a second, kept
# in the volume). Code compiled while the image is built would be for another CPU, and decoding without it is several
# times slower. tini passes signals on and collects the programs that a killed worker leaves behind.
RUN apt-get update \
    && apt-get install --no-install-recommends -y fluidsynth fluid-soundfont-gm gcc libc6-dev tini \
    && rm -rf /var/lib/apt/lists/*

RUN groupadd --gid 10001 kapelle \
    && useradd --uid 10001 --gid kapelle --home-dir /data --no-create-home --shell /usr/sbin/nologin kapelle \
    && install -d -o kapelle -g kapelle -m 0700 /data

WORKDIR /opt/kapelle
ENV PATH=/opt/kapelle/.venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Torch first and by itself: it is the largest layer, and changes least.
ARG TORCH=cpu
COPY constraints.txt ./
RUN python3 -m venv .venv \
    && pip install --constraint constraints.txt pip setuptools \
    && if [ "$TORCH" = cpu ]; then \
        pip install --constraint constraints.txt uv \
        && uv pip install --no-cache --python .venv/bin/python --torch-backend=cpu --constraint constraints.txt torch \
        && pip uninstall --yes uv; \
    else \
        pip install --constraint constraints.txt torch; \
    fi

COPY . ./
# A checkout may be readable for its owner only. Asking for the very torch that is there keeps pip from putting another
# one in its place.
RUN chmod -R go+rX bot cogs models \
    && pip install --constraint constraints.txt --no-build-isolation --editable ".[postgres]" \
        "torch==$(python -c 'from importlib.metadata import version; print(version("torch"))')" \
    && python -m compileall -q bot cogs models

# Everything that is written goes to the volume, so that the rest may be read-only. A rendering takes space in /tmp.
ENV KAPELLE_DATA=/data KAPELLE_OUT=/data/takes KAPELLE_HEALTH_PORT=8080 XDG_CACHE_HOME=/data/cache \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER kapelle
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=2m --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as web; port = os.environ['KAPELLE_HEALTH_PORT']; port == '0' or web.urlopen(f'http://127.0.0.1:{port}/healthz', timeout=5)"]
ENTRYPOINT ["tini", "--"]
CMD ["kapelle", "run"]
