"""Who may do what: one table, deny by default."""

from enum import StrEnum


class Role(StrEnum):
    """The roles of the requirements, plus those of services and analysts."""

    SUPER_ADMIN = "super_admin"
    FINANCE_ADMIN = "finance_admin"
    PRODUCT_ANALYST = "product_analyst"
    DATA_ENGINEER = "data_engineer"
    SUPPORT = "support"
    CUSTOMER = "customer"
    SENDER = "sender"
    """OTPless core: sends events and asks for authorisations."""


class Permission(StrEnum):
    """What a command or a query asks for."""

    CUSTOMERS_READ = "customers.read"
    CUSTOMERS_WRITE = "customers.write"
    ACCOUNTS_MOVE = "accounts.move"
    """Let another shard serve an account."""
    CATALOG_READ = "catalog.read"
    CATALOG_WRITE = "catalog.write"
    SUBSCRIPTIONS_READ = "subscriptions.read"
    SUBSCRIPTIONS_WRITE = "subscriptions.write"
    USAGE_READ = "usage.read"
    USAGE_SEND = "usage.send"
    USAGE_AMEND = "usage.amend"
    USAGE_BACKFILL = "usage.backfill"
    USAGE_QUARANTINE = "usage.quarantine"
    """Look at events that were set aside, and settle them."""
    USAGE_ARCHIVE = "usage.archive"
    WALLETS_READ = "wallets.read"
    WALLETS_WRITE = "wallets.write"
    INVOICES_READ = "invoices.read"
    INVOICES_WRITE = "invoices.write"
    INVOICES_APPROVE = "invoices.approve"
    PAYMENTS_READ = "payments.read"
    PAYMENTS_CREATE = "payments.create"
    """Ask for a payment: pay an invoice, top up a wallet."""
    PAYMENTS_WRITE = "payments.write"
    """Record, allocate, refund, reconcile."""
    PIPELINE_RUN = "pipeline.run"
    AUDIT_READ = "audit.read"
    ACCESS_WRITE = "access.write"


_READS = frozenset(
    {
        Permission.CUSTOMERS_READ,
        Permission.CATALOG_READ,
        Permission.SUBSCRIPTIONS_READ,
        Permission.USAGE_READ,
        Permission.WALLETS_READ,
        Permission.INVOICES_READ,
        Permission.PAYMENTS_READ,
    }
)

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.SUPER_ADMIN: frozenset(Permission),
    Role.FINANCE_ADMIN: _READS
    | {
        Permission.CUSTOMERS_WRITE,
        Permission.CATALOG_WRITE,
        Permission.SUBSCRIPTIONS_WRITE,
        Permission.WALLETS_WRITE,
        Permission.INVOICES_WRITE,
        Permission.INVOICES_APPROVE,
        Permission.PAYMENTS_CREATE,
        Permission.PAYMENTS_WRITE,
        Permission.PIPELINE_RUN,
        Permission.AUDIT_READ,
    },
    Role.PRODUCT_ANALYST: _READS | {Permission.CATALOG_WRITE},
    Role.DATA_ENGINEER: _READS
    | {
        Permission.ACCOUNTS_MOVE,
        Permission.PIPELINE_RUN,
        Permission.USAGE_SEND,
        Permission.USAGE_AMEND,
        Permission.USAGE_BACKFILL,
        Permission.USAGE_QUARANTINE,
        Permission.USAGE_ARCHIVE,
    },
    Role.SUPPORT: _READS,
    Role.CUSTOMER: (_READS - {Permission.CATALOG_READ}) | {Permission.PAYMENTS_CREATE},
    Role.SENDER: frozenset({Permission.USAGE_SEND, Permission.USAGE_AMEND}),
}
