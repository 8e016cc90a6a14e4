"""The resources under /api/v1, a module each: schemas, conversion, endpoints."""

from fastapi import APIRouter

from ingest_api.resources import (
    accounts,
    api_keys,
    audit,
    catalog,
    customers,
    documents,
    entitlements,
    fx_rates,
    gstr1,
    invoices,
    outbox,
    payments,
    quarantine,
    rating_runs,
    reconciliations,
    subscriptions,
    supplier_registrations,
    usage,
    wallets,
    webhooks,
)

ROUTERS: tuple[APIRouter, ...] = (
    customers.router,
    accounts.router,
    catalog.router,
    subscriptions.router,
    entitlements.router,
    wallets.router,
    usage.router,
    quarantine.router,
    invoices.router,
    outbox.router,
    documents.router,
    gstr1.router,
    payments.router,
    reconciliations.router,
    webhooks.router,
    supplier_registrations.router,
    rating_runs.router,
    fx_rates.router,
    api_keys.router,
    audit.router,
)
