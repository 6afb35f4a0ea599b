# The service with a model in it, which is the build context named "artifact":
#
#     buildah build --file model.Dockerfile --build-context artifact=runs/demo/artifact .
#
# The service's own image is built once for a state of the code; this adds one layer to it.
ARG SERVICE=topiccore-service
FROM ${SERVICE}
COPY --from=artifact --chown=10001:0 --chmod=0555 . /model/
