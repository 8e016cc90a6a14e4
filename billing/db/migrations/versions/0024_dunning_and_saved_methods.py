"""Saved methods, wallets that fill themselves, dunning, letters, debts given up by two persons.

Revision: 0024
Follows: 0023
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE billing.payment_methods (
    id UUID NOT NULL,
    customer_id UUID NOT NULL,
    account_id UUID NOT NULL,
    gateway TEXT NOT NULL,
    state VARCHAR(32) NOT NULL,
    label TEXT,
    provider_customer_id TEXT,
    provider_setup_id TEXT,
    provider_method_id TEXT,
    setup_url TEXT,
    is_default BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_payment_methods PRIMARY KEY (id),
    CONSTRAINT ck_payment_methods_active_is_named CHECK (state <> 'active' OR provider_method_id
        IS NOT NULL),
    CONSTRAINT fk_payment_methods_customer_id FOREIGN KEY(customer_id) REFERENCES
        billing.customers (id),
    CONSTRAINT fk_payment_methods_account_id FOREIGN KEY(account_id) REFERENCES billing.accounts
        (id),
    CONSTRAINT ck_payment_methods_methodstate_known CHECK (state IN ('pending', 'active',
        'removed'))
);
CREATE INDEX ix_payment_methods_account_id ON billing.payment_methods (account_id);
CREATE TABLE billing.auto_top_ups (
    wallet_id UUID NOT NULL,
    payment_method_id UUID NOT NULL,
    threshold_minor BIGINT NOT NULL,
    credits_minor BIGINT NOT NULL,
    monthly_cap_minor BIGINT NOT NULL,
    most_failures INTEGER NOT NULL,
    is_on BOOLEAN NOT NULL,
    off_reason TEXT,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_auto_top_ups PRIMARY KEY (wallet_id),
    CONSTRAINT ck_auto_top_ups_threshold_not_negative CHECK (threshold_minor >= 0),
    CONSTRAINT ck_auto_top_ups_credits_positive CHECK (credits_minor > 0),
    CONSTRAINT ck_auto_top_ups_cap_allows_one CHECK (monthly_cap_minor >= credits_minor),
    CONSTRAINT ck_auto_top_ups_most_failures_few CHECK (most_failures BETWEEN 1 AND 10),
    CONSTRAINT ck_auto_top_ups_off_for_a_reason CHECK (is_on OR off_reason IS NOT NULL),
    CONSTRAINT fk_auto_top_ups_wallet_id FOREIGN KEY(wallet_id) REFERENCES billing.wallets (id),
    CONSTRAINT fk_auto_top_ups_payment_method_id FOREIGN KEY(payment_method_id) REFERENCES
        billing.payment_methods (id)
);
CREATE TABLE billing.mails (
    id UUID NOT NULL,
    reference TEXT NOT NULL,
    customer_id UUID NOT NULL,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    state VARCHAR(32) NOT NULL,
    tries INTEGER NOT NULL,
    next_try_at TIMESTAMP WITH TIME ZONE NOT NULL,
    error TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_mails PRIMARY KEY (id),
    CONSTRAINT uq_mails_reference UNIQUE (reference),
    CONSTRAINT fk_mails_customer_id FOREIGN KEY(customer_id) REFERENCES billing.customers (id),
    CONSTRAINT ck_mails_mailstate_known CHECK (state IN ('queued', 'sent', 'given_up'))
);
CREATE INDEX ix_mails_customer_id ON billing.mails (customer_id, id);
CREATE INDEX ix_mails_queued ON billing.mails (next_try_at) WHERE state = 'queued';
CREATE TABLE billing.dunning_schedules (
    id UUID NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    steps JSONB NOT NULL,
    ignore_below_minor BIGINT NOT NULL,
    is_default BOOLEAN NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_dunning_schedules PRIMARY KEY (id),
    CONSTRAINT ck_dunning_schedules_ignore_below_not_negative CHECK (ignore_below_minor >= 0),
    CONSTRAINT uq_dunning_schedules_code UNIQUE (code)
);
CREATE UNIQUE INDEX uq_dunning_schedules_default ON billing.dunning_schedules (is_default) WHERE
        is_default;
CREATE TABLE billing.account_dunning (
    account_id UUID NOT NULL,
    schedule_id UUID,
    paused_until DATE,
    pause_reason TEXT,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_account_dunning PRIMARY KEY (account_id),
    CONSTRAINT fk_account_dunning_account_id FOREIGN KEY(account_id) REFERENCES billing.accounts
        (id),
    CONSTRAINT fk_account_dunning_schedule_id FOREIGN KEY(schedule_id) REFERENCES
        billing.dunning_schedules (id)
);
CREATE TABLE billing.dunning_steps (
    id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    schedule_id UUID NOT NULL,
    day INTEGER NOT NULL,
    action VARCHAR(32) NOT NULL,
    outcome VARCHAR(32) NOT NULL,
    outstanding_minor BIGINT NOT NULL,
    taken_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_dunning_steps PRIMARY KEY (id),
    CONSTRAINT uq_dunning_steps_invoice_id_day_action UNIQUE (invoice_id, day, action),
    CONSTRAINT fk_dunning_steps_invoice_id FOREIGN KEY(invoice_id) REFERENCES billing.invoices
        (id),
    CONSTRAINT fk_dunning_steps_schedule_id FOREIGN KEY(schedule_id) REFERENCES
        billing.dunning_schedules (id),
    CONSTRAINT ck_dunning_steps_dunningaction_known CHECK (action IN ('remind', 'charge',
        'suspend')),
    CONSTRAINT ck_dunning_steps_stepoutcome_known CHECK (outcome IN ('done', 'skipped',
        'not_possible'))
);
CREATE TABLE billing.write_offs (
    id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    amount_minor BIGINT NOT NULL,
    reason TEXT NOT NULL,
    state VARCHAR(32) NOT NULL,
    proposed_by TEXT NOT NULL,
    proposed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    decided_by TEXT,
    decided_at TIMESTAMP WITH TIME ZONE,
    decision_note TEXT,
    CONSTRAINT pk_write_offs PRIMARY KEY (id),
    CONSTRAINT ck_write_offs_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT ck_write_offs_decided_by_another CHECK (decided_by <> proposed_by),
    CONSTRAINT ck_write_offs_decided_by_somebody CHECK ((state = 'proposed') = (decided_by IS
        NULL)),
    CONSTRAINT fk_write_offs_invoice_id FOREIGN KEY(invoice_id) REFERENCES billing.invoices (id),
    CONSTRAINT ck_write_offs_writeoffstate_known CHECK (state IN ('proposed', 'approved',
        'rejected'))
);
CREATE UNIQUE INDEX uq_write_offs_proposed ON billing.write_offs (invoice_id) WHERE state =
        'proposed'
"""

_PAYMENTS = """
ALTER TABLE billing.payments ADD COLUMN payment_method_id uuid
    CONSTRAINT fk_payments_payment_method_id
    REFERENCES billing.payment_methods (id);
CREATE UNIQUE INDEX uq_payments_one_charge_in_flight ON billing.payments (coalesce(wallet_id,
        invoice_id)) WHERE payment_method_id IS NOT NULL AND status IN ('created', 'pending',
        'authorised')
"""

_CAUSE = """
ALTER TABLE billing.accounts DROP CONSTRAINT ck_accounts_suspensioncause_known;
ALTER TABLE billing.accounts ADD CONSTRAINT ck_accounts_suspensioncause_known
    CHECK (suspended_for IN ('hand', 'funds', 'debt'))
"""


def upgrade() -> None:
    """Make their tables."""
    for change in (_TABLES, _PAYMENTS, _CAUSE):
        op.execute(change)
