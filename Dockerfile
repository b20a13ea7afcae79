# One image for links, redirect, the migrations and the commands, whose digest is the release, and one for the dashboard, whose
# libraries nothing else needs: the first has the digest of the second.
#
# It has the Compose files, nginx's templates and the deployment's code in /release.
# Built by deploy/release/build.

ARG PYTHON=python:3.14-slim

# The digests of the other images of a release, which only deploy/release/build gives, as a context of this name.
FROM scratch AS release
FROM ghcr.io/astral-sh/uv:0.13 AS uv
FROM postgres:18 AS postgres

# pg_dump and pg_restore of the very server, with the libraries that they need beyond those of every Debian.
RUN mkdir -p /programs/bin /programs/lib && cp /usr/lib/postgresql/*/bin/pg_dump /usr/lib/postgresql/*/bin/pg_restore /programs/lib/ \
 && ldd /programs/lib/pg_dump /programs/lib/pg_restore \
  | awk '$2 == "=>" && $1 !~ /^(libc|libm|libresolv|libpthread|libdl)\.so/ { print $3 }' | sort -u \
  | xargs -I {} cp -L {} /programs/lib/ \
 && for name in pg_dump pg_restore; do \
      printf '#!/bin/sh\nLD_LIBRARY_PATH=/opt/postgres/lib exec /opt/postgres/lib/%s "$@"\n' "$name" >/programs/bin/$name; \
    done && chmod 755 /programs/bin/*

FROM ${PYTHON} AS dependencies
COPY --from=uv /uv /usr/local/bin/
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_DEFAULT_GROUPS=1 UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/app
WORKDIR /source
# The dependencies alone, which change seldom.
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \
    --mount=type=bind,source=uv.lock,target=uv.lock \
    uv sync --locked --no-install-project

# What a release changes, apart: so a host that has the dependencies pulls this alone, and a build packs no more.
FROM dependencies AS build
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv uv sync --locked --no-editable \
 && mkdir /project && cd /app && cp -a --parents bin/tinyurl lib/python*/site-packages/deploy lib/python*/site-packages/services \
      lib/python*/site-packages/shared lib/python*/site-packages/tinyurl-* /project

FROM dependencies AS dashboard-dependencies
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \
    --mount=type=bind,source=uv.lock,target=uv.lock \
    uv sync --locked --no-install-project --group dashboard

FROM ${PYTHON} AS dashboard
ARG REVISION=unknown
LABEL org.opencontainers.image.title="TinyURL dashboard" \
      org.opencontainers.image.description="The front end of a self-hosted link shortener" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=dashboard-dependencies /app /app
COPY --from=build /project /app
# Its libraries would start a thread for each core, for sums that are never large.
ENV PATH=/app/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
USER 10001:10001
WORKDIR /app
CMD ["python", "-m", "services.dashboard"]

FROM ${PYTHON} AS app
ARG REVISION=unknown
LABEL org.opencontainers.image.title="TinyURL" \
      org.opencontainers.image.description="A self-hosted link shortener" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=postgres /programs /opt/postgres
COPY --from=dependencies /app /app
COPY --from=build /project /app
COPY compose.yaml compose.prod.yaml /release/
COPY deploy /release/deploy
# `maintain` of a gate from before the rooms copies this file, deploy/__init__.py and deploy/host; the next release drops this line.
COPY deploy/host/cache_users.py /release/deploy/
COPY --from=release / /release/
# Fails where the libraries of the two images do not fit.
RUN /opt/postgres/bin/pg_dump --version
ENV PATH=/app/bin:/opt/postgres/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# What a new volume of the journal belongs to.
RUN install -d -o 10001 -g 10001 -m 700 /journal
# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
WORKDIR /app
CMD ["tinyurl", "--help"]
