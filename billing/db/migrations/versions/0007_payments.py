"""Payments through gateways, what the gateways said, and the lines that settle invoices.

Revision: 0007
Follows: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_PAYMENTS = """
CREATE TABLE billing.payments (
    id uuid PRIMARY KEY,
    purpose varchar(32) NOT NULL
        CONSTRAINT ck_payments_paymentpurpose_known CHECK (purpose IN ('invoice', 'top_up')),
    customer_id uuid NOT NULL REFERENCES billing.customers (id),
    account_id uuid NOT NULL REFERENCES billing.accounts (id),
    invoice_id uuid REFERENCES billing.invoices (id),
    wallet_id uuid REFERENCES billing.wallets (id),
    gateway text NOT NULL,
    currency text NOT NULL REFERENCES billing.currencies (code),
    amount_minor bigint NOT NULL CONSTRAINT ck_payments_amount_positive CHECK (amount_minor > 0),
    credits_minor bigint,
    status varchar(32) NOT NULL CONSTRAINT ck_payments_paymentstatus_known CHECK (
        status IN ('created', 'pending', 'failed', 'expired', 'authorised', 'captured')),
    dispute varchar(32) NOT NULL CONSTRAINT ck_payments_disputestate_known CHECK (
        dispute IN ('none', 'open', 'won', 'lost')),
    captured_minor bigint NOT NULL,
    refunded_minor bigint NOT NULL,
    provider_order_id text,
    checkout_url text,
    failure text,
    attention text,
    captured_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT ck_payments_refunded_within_captured
        CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    CONSTRAINT ck_payments_an_invoice_to_pay
        CHECK ((purpose = 'invoice') = (invoice_id IS NOT NULL)),
    CONSTRAINT ck_payments_a_wallet_to_fill
        CHECK ((purpose = 'top_up') = (wallet_id IS NOT NULL AND credits_minor IS NOT NULL)),
    CONSTRAINT ck_payments_credits_within_amount
        CHECK (credits_minor IS NULL OR credits_minor BETWEEN 1 AND amount_minor),
    CONSTRAINT uq_payments_gateway_provider_order_id UNIQUE (gateway, provider_order_id)
);
CREATE INDEX ix_payments_customer_id ON billing.payments (customer_id, id);
CREATE INDEX ix_payments_invoice_id ON billing.payments (invoice_id);
CREATE INDEX ix_payments_wallet_id ON billing.payments (wallet_id);

CREATE TABLE billing.provider_payments (
    gateway text NOT NULL,
    provider_payment_id text NOT NULL,
    payment_id uuid NOT NULL REFERENCES billing.payments (id),
    PRIMARY KEY (gateway, provider_payment_id)
);
CREATE INDEX ix_provider_payments_payment_id ON billing.provider_payments (payment_id);

CREATE TABLE billing.gateway_calls (
    id uuid PRIMARY KEY,
    payment_id uuid NOT NULL REFERENCES billing.payments (id),
    operation text NOT NULL,
    key text NOT NULL UNIQUE,
    state varchar(32) NOT NULL CONSTRAINT ck_gateway_calls_callstate_known CHECK (
        state IN ('started', 'succeeded', 'failed', 'unknown')),
    error text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX ix_gateway_calls_payment_id ON billing.gateway_calls (payment_id);

CREATE TABLE billing.gateway_events (
    gateway text NOT NULL,
    event_id text NOT NULL,
    kind text NOT NULL,
    reference text,
    provider_order_id text,
    provider_payment_ids jsonb NOT NULL,
    facts jsonb NOT NULL,
    body bytea NOT NULL,
    outcome varchar(32) NOT NULL CONSTRAINT ck_gateway_events_eventoutcome_known CHECK (
        outcome IN ('received', 'applied', 'ignored', 'unmatched')),
    reason text,
    payment_id uuid REFERENCES billing.payments (id),
    received_at timestamptz NOT NULL,
    processed_at timestamptz,
    PRIMARY KEY (gateway, event_id)
);
CREATE INDEX ix_gateway_events_payment_id ON billing.gateway_events (payment_id);
CREATE INDEX ix_gateway_events_outcome ON billing.gateway_events (outcome);

CREATE TABLE billing.refunds (
    id uuid PRIMARY KEY,
    payment_id uuid NOT NULL REFERENCES billing.payments (id),
    amount_minor bigint NOT NULL CONSTRAINT ck_refunds_amount_positive CHECK (amount_minor > 0),
    reason text NOT NULL,
    state varchar(32) NOT NULL CONSTRAINT ck_refunds_refundstate_known CHECK (
        state IN ('requested', 'processed', 'failed')),
    provider_refund_id text,
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT uq_refunds_payment_id_provider_refund_id UNIQUE (payment_id, provider_refund_id)
);
CREATE INDEX ix_refunds_payment_id ON billing.refunds (payment_id)
"""

_SETTLEMENT_LINES = """
ALTER TABLE billing.invoice_allocations
    ADD COLUMN payment_id uuid REFERENCES billing.payments (id),
    ADD COLUMN details jsonb NOT NULL DEFAULT '{}',
    DROP CONSTRAINT ck_invoice_allocations_ck_invoice_allocations_amount_positive,
    ADD CONSTRAINT ck_invoice_allocations_taken_back_only_by_a_reversal CHECK (
        amount_minor > 0 OR (amount_minor < 0 AND source IN ('refund', 'reversal')));
CREATE INDEX ix_invoice_allocations_payment_id ON billing.invoice_allocations (payment_id);

-- Of a payment no more is set against invoices than came in and stayed.
CREATE FUNCTION billing.allocations_within_payment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE allocated bigint; net bigint;
BEGIN
    IF NEW.payment_id IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(sum(amount_minor), 0) INTO allocated
    FROM billing.invoice_allocations WHERE payment_id = NEW.payment_id;
    SELECT captured_minor - refunded_minor INTO net
    FROM billing.payments WHERE id = NEW.payment_id;
    IF allocated NOT BETWEEN 0 AND net THEN
        RAISE EXCEPTION 'payment % has % and % of it are allocated', NEW.payment_id, net, allocated
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER allocations_within_payment
    AFTER INSERT ON billing.invoice_allocations DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing.allocations_within_payment()
"""

_KINDS = ("usage", "top_up", "promotion", "amendment", "true_up", "correction", "invoice", "refund")
_TABLES = ("ledger_transactions", "wallet_adjustments")


def upgrade() -> None:
    op.execute(_PAYMENTS)
    op.execute(_SETTLEMENT_LINES)
    known = ", ".join(f"'{kind}'" for kind in _KINDS)
    for table in _TABLES:
        name = f"ck_{table}_ledgerkind_known"
        op.execute(
            f"ALTER TABLE billing.{table} DROP CONSTRAINT {name}, "
            f"ADD CONSTRAINT {name} CHECK (kind IN ({known}))"
        )
