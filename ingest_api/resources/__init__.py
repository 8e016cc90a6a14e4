"""The resources under /api/v1, a module each: schemas, conversion, endpoints."""

from fastapi import APIRouter

from ingest_api.resources import (
    accounts,
    api_keys,
    audit,
    catalog,
    customers,
    fx_rates,
    rating_runs,
    subscriptions,
    usage,
)

ROUTERS: tuple[APIRouter, ...] = (
    customers.router,
    accounts.router,
    catalog.router,
    subscriptions.router,
    usage.router,
    rating_runs.router,
    fx_rates.router,
    api_keys.router,
    audit.router,
)
