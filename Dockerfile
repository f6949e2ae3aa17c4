# Airflow with what mailonce needs. Dags, plugins, templates and the sandbox are mounted by docker-compose.yaml.
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2
FROM ${AIRFLOW_IMAGE}

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
RUN python -c "import airflow.providers.celery.executors.celery_executor, redis, psycopg, psycopg_pool, babel, email_validator, boto3"
