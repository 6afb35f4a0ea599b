# syntax=docker/dockerfile:1
# The service; its model is mounted at /model, or comes with the image that model.Dockerfile makes.
#
# BASE is any image with Python 3.11 or newer as python3.  The builder stage stands on the same one,
# so that wheels and virtual environment fit, and adds BUILD_PACKAGES to it by apt-get; a BUILDER
# that has them already goes with an empty BUILD_PACKAGES.
ARG BASE=python:3.13-slim
ARG BUILDER=${BASE}

FROM ${BUILDER} AS builder
ARG BUILD_PACKAGES="gcc libc6-dev"
RUN if [ -n "${BUILD_PACKAGES}" ]; then \
        apt-get update -q && \
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends ${BUILD_PACKAGES}; \
    fi
# What .dockerignore lets through.
COPY . /src/
# How packages are reached is the builder's affair: a pip.conf and a CA bundle may come as secrets.
ARG EXTRAS=serve
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/ca.pem \
    python3 -m venv /build && \
    /build/bin/pip wheel --no-cache-dir --wheel-dir /wheels "/src[${EXTRAS}]"
# Compiled ahead: the service may not write where it lies.  Tests and headers are not for serving.
RUN python3 -m venv --without-pip /opt/topiccore && \
    /build/bin/pip --python /opt/topiccore/bin/python install \
        --no-cache-dir --no-index --find-links /wheels "topiccore[${EXTRAS}]" && \
    find /opt/topiccore -depth -type d \( -name tests -o -name include \) -exec rm -r {} + && \
    chgrp -R 0 /opt/topiccore && chmod -R g=u,o=rX /opt/topiccore


FROM ${BASE} AS service
COPY --from=builder /opt/topiccore /opt/topiccore
ENV PATH=/opt/topiccore/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
# A number, so that Kubernetes sees that it is not root.  Any other works too.
USER 10001:0
WORKDIR /
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Of the image format of Docker; Kubernetes has probes of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["python", "-I", "-c", \
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
# Arguments of the container come after these and win over them.
ENTRYPOINT ["topiccore", "serve", "--model", "/model", "--host", "0.0.0.0", "--port", "8080", \
    "--metrics-host", "0.0.0.0", "--metrics-port", "9090"]
