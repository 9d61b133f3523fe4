# The console for production: web server, worker, beat and `manage.py` from one image.
#
# To pin the base, resolve the tag once and build with what it prints:
#   docker buildx imagetools inspect python:3.13-slim --format '{{.Manifest.Digest}}'
#   docker build --build-arg BASE=python:3.13-slim@sha256:<digest> .
ARG BASE=python:3.13-slim
# Its client programs dump and restore; of the same Debian release as the base, and of PostgreSQL's
# own version or newer than the servers that are backed up.
ARG POSTGRES=postgres:18-trixie

FROM ${POSTGRES} AS postgresql
# The programs with what they load, but for the C library, which is the base's. Without the
# just-in-time compiler: no restore needs it, and it is larger than all the rest.
RUN mkdir -p /libraries \
    && rm -rf /usr/lib/postgresql/18/lib/bitcode /usr/lib/postgresql/18/lib/pgxs \
    && rm -f /usr/lib/postgresql/18/lib/llvmjit* \
    && ldd /usr/lib/postgresql/18/bin/* /usr/lib/postgresql/18/lib/*.so \
        | awk '$2 == "=>" && $3 ~ "^/" {print $3}' | sort -u \
        | grep -Ev '/(libc|libm|libdl|libpthread|librt|libresolv)\.so' \
        | xargs -I{} cp --dereference {} /libraries/

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
    && install --directory --owner=console --group=console --mode=0700 /spool /backups /recovery /wal-archive
COPY --from=postgresql /usr/lib/postgresql/18 /usr/lib/postgresql/18
COPY --from=postgresql /usr/share/postgresql/18 /usr/share/postgresql/18
COPY --from=postgresql /libraries /usr/lib/postgresql/libraries
# A cluster that is restored to a point in time has the locales of the one that was backed up.
COPY --from=postgresql /usr/lib/locale /usr/lib/locale
# The base's own libraries come first: a second one of the same name is not kept. That every
# program starts is tried here, so that an image in which one does not is never made.
RUN for library in /usr/lib/postgresql/libraries/*; do \
        if ldconfig -p | grep -qF "$(basename "$library") "; then rm "$library"; fi; \
    done \
    && echo /usr/lib/postgresql/libraries > /etc/ld.so.conf.d/zz-postgresql.conf \
    && ldconfig \
    && for program in pg_dump pg_dumpall pg_restore psql pg_basebackup pg_combinebackup \
        pg_receivewal pg_verifybackup pg_controldata pg_ctl postgres; do \
        "/usr/lib/postgresql/18/bin/$program" --version || exit 1; \
    done
# A production console never falls back to embedded services: without DATABASE_URL it does not start.
# USER is whom the log names for commands, also where the platform gives the container another uid.
ENV PATH=/venv/bin:$PATH \
    USER=console \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    COMPLIANCE_ENV=production \
    AUDIT_SPOOL=/spool/entries \
    BACKUP_STORAGE_PATH=/backups \
    RECOVERY_FOLDER=/recovery \
    POSTGRESQL_PROGRAMS=/usr/lib/postgresql/18/bin \
    PGCONNECT_TIMEOUT=10
# To be kept when the container is replaced: entries that the database did not take yet, backups,
# what restores and retention remember, and the archived log.
VOLUME ["/spool", "/backups", "/recovery", "/wal-archive"]
WORKDIR /app
# All of it belongs to root: the console can read it and write none of it, but for the volumes.
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
