# A Dask worker that extracts features. Built from the repository's root:
#   docker build -f docker/worker.Dockerfile -t songbag-worker .
# The same image runs the scheduler (`dask scheduler`) and `songbag extract`, so that all have the same versions.
FROM python:3.11-slim-bookworm

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY store store
COPY pipeline pipeline
COPY training training
RUN pip install --no-cache-dir --constraint constraints.txt '.[pipeline]' \
    && useradd --uid 1000 --create-home songbag

USER 1000
WORKDIR /home/songbag
ENTRYPOINT ["dask", "worker", "--nthreads", "1"]
