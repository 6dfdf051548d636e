# songbag for training, on a CPU or on an NVIDIA GPU (docker run --gpus all). Built from the repository's root:
#   docker build -f docker/training.Dockerfile -t songbag-training .
FROM python:3.11-slim-bookworm

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY store store
COPY pipeline pipeline
COPY training training
# CUDA and cuDNN come as Python packages with TensorFlow; the image needs only the driver of its host.
RUN pip install --no-cache-dir --constraint constraints.txt '.[training]' 'tensorflow[and-cuda]' \
    && useradd --uid 1000 --create-home songbag

USER 1000
WORKDIR /home/songbag
ENTRYPOINT ["songbag"]
CMD ["--help"]
