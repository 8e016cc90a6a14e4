"""The rules of the ledger, checked for a whole statement at once; one index less on raw events.

The writer posts thousands of wallets at a time, and most of that time went into triggers that ran
once for each row. Where `billing.set_based` is on, which the writer's connection says, the same
rules are checked by one query for each statement, and at once instead of at commit. Everybody else
keeps the triggers of migration 0002.

A wallet is never deleted, and neither is a ledger transaction: that they exist is therefore looked
at once, when entries come.

Revision: 0015
Follows: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_ROW_BY_ROW = """
DROP TRIGGER ledger_transaction_balances ON billing.ledger_entries;
CREATE CONSTRAINT TRIGGER ledger_transaction_balances
    AFTER INSERT ON billing.ledger_entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (current_setting('billing.set_based', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION billing.ledger_transaction_balances();

DROP TRIGGER wallet_entry_follows ON billing.ledger_entries;
CREATE TRIGGER wallet_entry_follows
    AFTER INSERT ON billing.ledger_entries FOR EACH ROW
    WHEN (NEW.account = 'wallet'
        AND current_setting('billing.set_based', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION billing.wallet_entry_follows();

DROP TRIGGER wallet_equals_last_entry ON billing.wallets;
CREATE CONSTRAINT TRIGGER wallet_equals_last_entry
    AFTER INSERT OR UPDATE OF balance_units, entry_seq ON billing.wallets
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (current_setting('billing.set_based', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION billing.wallet_equals_last_entry()
"""

_ENTRIES = """
CREATE FUNCTION billing.ledger_entries_fit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wrong record;
BEGIN
    SELECT a.transaction_id, a.wallet_id INTO wrong FROM added a
    WHERE NOT EXISTS (SELECT 1 FROM billing.ledger_transactions t WHERE t.id = a.transaction_id)
        OR NOT EXISTS (SELECT 1 FROM billing.wallets w WHERE w.id = a.wallet_id)
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
END $$;

CREATE TRIGGER ledger_entries_fit AFTER INSERT ON billing.ledger_entries
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.ledger_entries_fit()
"""

_WALLETS = """
CREATE FUNCTION billing.wallets_equal_last_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wrong uuid;
BEGIN
    IF current_setting('billing.set_based', true) IS DISTINCT FROM 'on' THEN
        RETURN NULL;
    END IF;
    SELECT c.id INTO wrong
    FROM changed c LEFT JOIN LATERAL (
        SELECT e.wallet_seq, e.balance_after_units FROM billing.ledger_entries e
        WHERE e.wallet_id = c.id AND e.wallet_seq IS NOT NULL ORDER BY e.wallet_seq DESC LIMIT 1
    ) last ON true
    WHERE (c.entry_seq, c.balance_units)
        <> (coalesce(last.wallet_seq, 0), coalesce(last.balance_after_units, 0))
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'wallet % differs from its ledger', wrong
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER wallets_equal_last_entries AFTER UPDATE ON billing.wallets
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION billing.wallets_equal_last_entries();
CREATE TRIGGER new_wallets_equal_last_entries AFTER INSERT ON billing.wallets
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION billing.wallets_equal_last_entries();

CREATE TRIGGER never_deleted BEFORE DELETE ON billing.wallets
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON billing.wallets
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change()
"""

_NO_FOREIGN_KEYS = """
ALTER TABLE billing.ledger_entries
    DROP CONSTRAINT fk_ledger_entries_transaction_id,
    DROP CONSTRAINT fk_ledger_entries_wallet_id
"""

# by (shard, accept_seq) events are found, and a primary key that begins with them does that too
_RAW_EVENTS = """
ALTER TABLE usage.raw_events DROP CONSTRAINT raw_events_pkey;
ALTER TABLE usage.raw_events ADD PRIMARY KEY (shard, accept_seq, occurred_at);
DROP INDEX usage.ix_raw_events_shard_accept_seq
"""


def upgrade() -> None:
    for change in (_ROW_BY_ROW, _ENTRIES, _WALLETS, _NO_FOREIGN_KEYS, _RAW_EVENTS):
        op.execute(change)
