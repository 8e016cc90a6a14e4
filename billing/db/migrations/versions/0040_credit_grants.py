"""Credits with a priority, and a scope and an end if they have them.

Revision: 0040
Follows: 0039
"""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

_KINDS = (
    "usage",
    "top_up",
    "deposit",
    "deposit_refund",
    "promotion",
    "commitment",
    "expiry",
    "void",
    "amendment",
    "true_up",
    "correction",
    "invoice",
    "refund",
    "credit_note",
)

_ACCOUNTS = (
    "wallet",
    "usage_unbilled",
    "cash",
    "tax_on_advances",
    "promotion",
    "commitment",
    "correction",
    "revenue",
    "output_tax",
)

_TABLES = """
CREATE TABLE billing.credit_grants (
    id uuid CONSTRAINT pk_credit_grants PRIMARY KEY,
    wallet_id uuid NOT NULL
        CONSTRAINT fk_credit_grants_wallet_id REFERENCES billing.wallets (id),
    kind varchar(32) NOT NULL CONSTRAINT ck_credit_grants_grantkind_known
        CHECK (kind IN ('promotional', 'purchased', 'commitment')),
    priority integer NOT NULL,
    item_codes text[] NOT NULL,
    amount_units bigint NOT NULL,
    expires_on date,
    expires_at timestamptz,
    reference text NOT NULL,
    note text NOT NULL,
    granted_by text NOT NULL,
    granted_at timestamptz NOT NULL,
    ledger_transaction_id uuid
        CONSTRAINT fk_credit_grants_ledger_transaction_id
        REFERENCES billing.ledger_transactions (id)
        CONSTRAINT uq_credit_grants_ledger_transaction_id UNIQUE,
    voided_at timestamptz,
    void_reason text,
    CONSTRAINT uq_credit_grants_kind_reference UNIQUE (kind, reference),
    CONSTRAINT ck_credit_grants_something CHECK (amount_units > 0),
    CONSTRAINT ck_credit_grants_priority_in_range CHECK (priority BETWEEN 0 AND 100),
    CONSTRAINT ck_credit_grants_scoped_is_not_in_the_balance
        CHECK ((ledger_transaction_id IS NULL) = (cardinality(item_codes) > 0)),
    CONSTRAINT ck_credit_grants_paid_stays CHECK (
        kind <> 'purchased' OR (cardinality(item_codes) = 0 AND expires_on IS NULL)
    ),
    CONSTRAINT ck_credit_grants_one_end CHECK ((expires_on IS NULL) = (expires_at IS NULL))
);
CREATE INDEX ix_credit_grants_wallet_id ON billing.credit_grants (wallet_id);
CREATE INDEX ix_credit_grants_expires_at ON billing.credit_grants (expires_at);
CREATE TABLE billing.credit_grant_draws (
    grant_id uuid NOT NULL
        CONSTRAINT fk_credit_grant_draws_grant_id REFERENCES billing.credit_grants (id),
    ledger_transaction_id uuid NOT NULL
        CONSTRAINT fk_credit_grant_draws_ledger_transaction_id
        REFERENCES billing.ledger_transactions (id),
    amount_units bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT pk_credit_grant_draws PRIMARY KEY (grant_id, ledger_transaction_id),
    CONSTRAINT ck_credit_grant_draws_something CHECK (amount_units > 0)
);
CREATE FUNCTION billing.grant_only_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.voided_at IS NOT NULL
        OR to_jsonb(NEW) - '{voided_at,void_reason}'::text[]
            <> to_jsonb(OLD) - '{voided_at,void_reason}'::text[] THEN
        RAISE EXCEPTION 'a credit grant does not change: it is voided, once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_ends BEFORE UPDATE OR DELETE ON billing.credit_grants
    FOR EACH ROW EXECUTE FUNCTION billing.grant_only_ends();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing.credit_grant_draws
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON billing.credit_grants
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON billing.credit_grant_draws
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change()
"""

# what was given away until now; the posting's id names the grant too
_GIVEN = """
INSERT INTO billing.credit_grants (id, wallet_id, kind, priority, item_codes, amount_units,
    reference, note, granted_by, granted_at, ledger_transaction_id)
SELECT ledger_transaction_id, wallet_id, 'promotional', 50, '{}', amount_units,
    substr(reference, length('promotion:') + 1), note, actor, recorded_at, ledger_transaction_id
FROM billing.wallet_adjustments
WHERE kind = 'promotion' AND amount_units > 0 AND reference LIKE 'promotion:%'
"""


def upgrade() -> None:
    """Make the tables, take over what was given, and let postings be what grants need."""
    for table in ("ledger_transactions", "wallet_adjustments"):
        _allow(table, "kind", f"ck_{table}_ledgerkind_known", _KINDS)
    _allow("ledger_entries", "account", "ck_ledger_entries_ledgeraccount_known", _ACCOUNTS)
    op.execute(_TABLES)
    op.execute(_GIVEN)


def _allow(table: str, column: str, name: str, values: tuple[str, ...]) -> None:
    known = ", ".join(f"'{value}'" for value in values)
    op.execute(f"ALTER TABLE billing.{table} DROP CONSTRAINT {name}")
    op.execute(f"ALTER TABLE billing.{table} ADD CONSTRAINT {name} CHECK ({column} IN ({known}))")
