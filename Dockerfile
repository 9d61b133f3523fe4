# The console for production: web server, worker, beat and `manage.py` from one image.
#
# To pin the base, resolve the tag once and build with what it prints:
#   docker buildx imagetools inspect python:3.13-slim --format '{{.Manifest.Digest}}'
#   docker build --build-arg BASE=python:3.13-slim@sha256:<digest> .
ARG BASE=python:3.13-slim

FROM ${BASE} AS builder
WORKDIR /app
COPY requirements/base.txt requirements/base.txt
# Wheels only: no package runs code of its own while it is installed.
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --no-input --disable-pip-version-check \
        --require-hashes --only-binary :all: -r requirements/base.txt
COPY . .
# Settings do not load without these. They are nobody's, hold for this line and stay in this stage.
RUN COMPLIANCE_ENV=production SECRET_KEY=unused REDIS_URL=redis://unused \
    DATABASE_URL=postgresql://unused@unused/unused \
    /venv/bin/python manage.py collectstatic --no-input \
    && /venv/bin/python -m compileall -q . \
    && chmod -R a+rX .

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="compliance-console" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 console \
    && useradd --uid 10001 --gid console --no-create-home --home-dir /app --shell /usr/sbin/nologin console \
    && install --directory --owner=console --group=console --mode=0700 /spool
# A production console never falls back to embedded services: without DATABASE_URL it does not start.
# USER is whom the log names for commands, also where the platform gives the container another uid.
ENV PATH=/venv/bin:$PATH \
    USER=console \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    COMPLIANCE_ENV=production \
    AUDIT_SPOOL=/spool/entries
# Entries that the database did not take yet: to be kept when the container is replaced.
VOLUME /spool
WORKDIR /app
# All of it belongs to root: the console can read it and write none of it, but for /spool.
COPY --from=builder /venv /venv
COPY --from=builder /app /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "deploy/healthcheck.py"]
# One process: its metrics are complete. More requests at once are GRANIAN_BLOCKING_THREADS' matter.
ENV GRANIAN_BLOCKING_THREADS=16
CMD ["granian", "--interface", "wsgi", "--no-ws", "--host", "0.0.0.0", "--port", "8000", "--workers", "1", "compliance_site.wsgi:application"]
