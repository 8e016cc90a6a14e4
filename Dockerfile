# One image for every process; docker-compose.yml says which one a container runs.
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        fontconfig libharfbuzz-subset0 libpango-1.0-0 libpangoft2-1.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /home/billing billing \
    && install -d -o billing -g billing /srv/billing /var/lib/dagster

WORKDIR /srv/billing
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock

COPY --chown=billing:billing . .
RUN pip install --no-cache-dir --no-deps -e . \
    && chown -R billing:billing /srv/billing

USER billing
ENV PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/var/lib/dagster \
    DAGSTER_DISABLE_TELEMETRY=yes
EXPOSE 3000 8000 8501
CMD ["billing", "doctor"]
