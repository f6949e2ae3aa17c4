# Three images, one on top of the other:
#
#   docker build --target libraries .   Airflow with the libraries mailonce needs. docker-compose.yaml mounts the code
#   docker build --target sandbox .     with the local AWS of the sandbox, for docker-compose.yaml only
#   docker build .                      with Dags, package and templates inside: for a registry, nothing is mounted
#
# The base image must have Airflow, CeleryExecutor and StatsD in it, as Apache's has, and a user who may run pip.
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2

FROM ${AIRFLOW_IMAGE} AS libraries

COPY requirements.txt /opt/mailonce/requirements.txt

# The image brings Airflow already. The lock file names the same version, so that pip leaves it alone and changes
# only the libraries beside it, to the versions that the tests ran with. An image with another Airflow is refused
# here, rather than changed under the hands of whoever chose it.
RUN if [ -n "${AIRFLOW_VERSION:-}" ] && ! grep -q "^apache-airflow==${AIRFLOW_VERSION} " /opt/mailonce/requirements.txt; then \
      echo "requirements.txt is locked for another Airflow than ${AIRFLOW_VERSION}: use its image, or run make lock" >&2; \
      exit 1; \
    fi

RUN pip install --no-cache-dir --require-hashes -r /opt/mailonce/requirements.txt

# The lock file knows nothing of what else the image holds. These parts are used; the build fails if one broke.
RUN python -c "import airflow.providers.celery.executors.celery_executor, redis, statsd, psycopg, psycopg_pool, babel, email_validator, boto3"

# Volumes take over who may write from the folder that they are mounted on: group 0, whatever AIRFLOW_UID is. And the
# terminal tool is a command, as where the package is installed with pip.
RUN mkdir -p -m 0775 /opt/airflow/logs /opt/airflow/snapshots /opt/airflow/mailonce /opt/airflow/standins \
    && chmod g+w /opt/airflow/logs \
    && command="$(dirname "$(command -v airflow)")/mailonce" \
    && printf '#!/bin/sh\nPYTHONPATH=/opt/airflow/plugins exec python -m mailonce.terminal "$@"\n' > "$command" \
    && chmod 0755 "$command"


FROM libraries AS sandbox

COPY requirements-dev.txt /opt/mailonce/requirements-dev.txt

# Of the development machine's lock file only the local AWS and what it needs.
RUN awk '/^[a-z]/ { wanted = /^(ministack|defusedxml|exceptiongroup|h11|h2|hpack|hypercorn|hyperframe|priority|pyyaml|taskgroup|tomli|typing-extensions|wsproto)==/ } wanted' \
      /opt/mailonce/requirements-dev.txt > /tmp/sandbox.txt \
    && pip install --no-cache-dir --no-deps --require-hashes -r /tmp/sandbox.txt \
    && rm /tmp/sandbox.txt \
    && python -c "import ministack.app"


FROM libraries AS complete

COPY config/airflow_local_settings.py /opt/airflow/config/
COPY include /opt/airflow/include
COPY plugins /opt/airflow/plugins
COPY dags /opt/airflow/dags
# Byte code is made now, by whoever may write there: a process that makes its own starts seconds later.
USER root
RUN "$(command -v python)" -m compileall -q /opt/airflow/config /opt/airflow/plugins /opt/airflow/dags
USER airflow
