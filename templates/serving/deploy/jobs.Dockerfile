# Made by `glue package`: the project with glue, for the CronJobs. docker build --file this --tag << image >>-jobs:v<< version >> PROJECT
ARG BASE=python:<< python >>-slim
FROM ${BASE}
COPY << requirements >> /tmp/requirements.lock
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.lock
COPY --chown=10001:10001 . /project
WORKDIR /project
USER 10001:10001
ENTRYPOINT ["glue"]
