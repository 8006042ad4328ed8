# One image for every process of Umbel: web, worker, beat, Flower, migrations. The command says which.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.txt .
RUN /opt/venv/bin/pip install --require-hashes -r requirements.txt
# Sandboxes at E2B need their client: docker build --build-arg WITH_E2B=1
ARG WITH_E2B=
COPY requirements-e2b.txt .
RUN [ -z "$WITH_E2B" ] || /opt/venv/bin/pip install --require-hashes -r requirements-e2b.txt

FROM python:3.11-slim
# Sandboxes are made with it.
RUN apt-get update -q && apt-get install -y -q --no-install-recommends bubblewrap libseccomp2 && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 umbel \
    && useradd --uid 10001 --gid umbel --home-dir /srv/umbel --no-create-home --shell /usr/sbin/nologin umbel \
    && install --directory --owner umbel --group umbel /var/lib/umbel
WORKDIR /srv/umbel
COPY --from=build /opt/venv /opt/venv
COPY alembic.ini celeryconfig.py ./
COPY config config
COPY models models
COPY worker worker
COPY tasks tasks
COPY web web
COPY client/umbel_client umbel_client
# The pool is named by the environment, and its module must be importable before Celery adds this directory.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/srv/umbel \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CELERY_CUSTOM_WORKER_POOL=tasks.pool:AsyncioPool
USER 10001:10001
EXPOSE 8080
# Right for the command below; the compose file has one for each other process.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('UMBEL_WEB_PORT', '8080') + '/healthz', timeout=4)"]
CMD ["gunicorn", "-c", "config/gunicorn.py", "web:create_app()"]
