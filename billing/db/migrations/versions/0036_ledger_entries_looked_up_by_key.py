"""That entries have their transaction and wallet: looked up one by one, not in a table of all.

Two `NOT EXISTS` joined by OR were answered by a hash of every wallet and every ledger transaction,
made anew for each statement, so that a batch of a few events cost more with every day of traffic.
Two outer joins by key find the same.

Revision: 0036
Follows: 0035
"""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_ENTRIES = """
CREATE OR REPLACE FUNCTION billing.ledger_entries_fit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wrong record;
BEGIN
    SELECT a.transaction_id, a.wallet_id INTO wrong
    FROM added a
    LEFT JOIN billing.ledger_transactions t ON t.id = a.transaction_id
    LEFT JOIN billing.wallets w ON w.id = a.wallet_id
    WHERE t.id IS NULL OR w.id IS NULL
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger transaction % or wallet % does not exist',
            wrong.transaction_id, wrong.wallet_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF current_setting('billing.set_based', true) IS DISTINCT FROM 'on' THEN
        RETURN NULL;
    END IF;
    SELECT a.wallet_id, a.wallet_seq INTO wrong
    FROM added a LEFT JOIN billing.ledger_entries before
        ON before.wallet_id = a.wallet_id AND before.wallet_seq = a.wallet_seq - 1
    WHERE a.account = 'wallet' AND a.balance_after_units IS DISTINCT FROM a.amount_units
        + CASE WHEN a.wallet_seq = 1 THEN 0 ELSE before.balance_after_units END
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'wallet % entry % does not follow the entry before it',
            wrong.wallet_id, wrong.wallet_seq USING ERRCODE = 'check_violation';
    END IF;
    SELECT touched.transaction_id INTO wrong
    FROM (SELECT DISTINCT transaction_id FROM added) touched
    WHERE (SELECT sum(e.amount_units) FROM billing.ledger_entries e
           WHERE e.transaction_id = touched.transaction_id) <> 0
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger transaction % does not balance', wrong.transaction_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.execute(_ENTRIES)
