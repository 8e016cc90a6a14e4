"""Imports every table module, so that the metadata is whole."""

import billing.access.tables
import billing.catalog.tables
import billing.coupons.tables
import billing.customers.tables
import billing.decks.tables
import billing.documents.tables
import billing.documents.templates
import billing.dunning.tables
import billing.einvoices.tables
import billing.entitlements.tables
import billing.fx.tables
import billing.invoices.beside
import billing.invoices.consolidation
import billing.invoices.return_periods
import billing.invoices.tables
import billing.mail.tables
import billing.outbox.tables
import billing.overrides.tables
import billing.payments.method_tables
import billing.payments.reconciliation
import billing.payments.tables
import billing.payments.tds
import billing.subscriptions.tables
import billing.subsets.tables
import billing.usage.archive.tables
import billing.usage.imports.tables
import billing.usage.tables
import billing.wallets.tables  # noqa: F401
