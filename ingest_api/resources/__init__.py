"""The resources under /api/v1, a module each: schemas, conversion, endpoints."""

from fastapi import APIRouter

from ingest_api.resources import (
    accounts,
    api_keys,
    audit,
    catalog,
    customers,
    fx_rates,
    invoices,
    rating_runs,
    subscriptions,
    supplier_registrations,
    usage,
    wallets,
)

ROUTERS: tuple[APIRouter, ...] = (
    customers.router,
    accounts.router,
    catalog.router,
    subscriptions.router,
    wallets.router,
    usage.router,
    invoices.router,
    supplier_registrations.router,
    rating_runs.router,
    fx_rates.router,
    api_keys.router,
    audit.router,
)
