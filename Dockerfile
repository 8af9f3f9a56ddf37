# This program for any folder of data: its commands (cdda-train, …), started by a user without rights.
#
#   docker build --tag cdda-seg .                          with CUDA
#   docker build --tag cdda-seg --build-arg DEVICE=cpu .   4 GB less
#   docker run --gpus all --shm-size 8g --user "$(id -u):$(id -g)" --volume "$PWD:/work" cdda-seg \
#       cdda-train demo/daformer --work-dir work_dirs/try
FROM python:3.12-slim

ARG DEVICE=cuda
ARG EXTRAS=depth,vfm

RUN if [ "$DEVICE" = cpu ]; then \
        pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu; \
    fi

WORKDIR /source
COPY . .
RUN pip install --no-cache-dir ".[$EXTRAS]"

RUN useradd --create-home cdda && install --directory --owner cdda /work
USER cdda
WORKDIR /work
CMD ["cdda-train", "--help"]
