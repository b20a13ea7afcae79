# Two images. The first is for links, redirect, the migrations and the commands, and its digest is the release. The second is for the
# dashboard, whose large libraries nothing else needs. The first has the digest of the second.
#
# /release in the first image has the Compose files, the templates of nginx and the code of the deployment.
# deploy/release/build builds both.

ARG PYTHON=python:3.14-slim

# The digests of the other images of a release. Only deploy/release/build has them, as a build context of this name.
FROM scratch AS release
FROM ghcr.io/astral-sh/uv:0.13 AS uv
FROM postgres:18 AS postgres

# pg_dump and pg_restore of the server's version, with the libraries that Debian does not have.
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
# Only the dependencies, which change seldom.
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \
    --mount=type=bind,source=uv.lock,target=uv.lock \
    uv sync --locked --no-install-project

# The code of the project is a layer of its own, so a host that has the dependencies pulls nothing else.
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
# Without these variables its libraries would start a thread for each core, and the sums are small.
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
# This fails if the libraries of the two base images do not fit together.
RUN /opt/postgres/bin/pg_dump --version
ENV PATH=/app/bin:/opt/postgres/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A new volume of the journal gets this owner and mode.
RUN install -d -o 10001 -g 10001 -m 700 /journal
# An orchestrator can see from a number that the user is not root.
USER 10001:10001
WORKDIR /app
CMD ["tinyurl", "--help"]
