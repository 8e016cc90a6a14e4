"""Announce what the intake keeps in memory: accounts and prices, and new wallet adjustments.

Revision: 0003
Follows: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ACCOUNTS = """
CREATE FUNCTION billing.announce_account() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE subject text;
BEGIN
    subject := CASE TG_TABLE_NAME
        WHEN 'accounts' THEN NEW.id::text
        WHEN 'account_aliases' THEN 'alias:' || (to_jsonb(NEW) ->> 'alias')
        WHEN 'subscription_segments' THEN
            (SELECT account_id::text FROM billing.subscriptions
             WHERE id = (to_jsonb(NEW) ->> 'subscription_id')::uuid)
        ELSE to_jsonb(NEW) ->> 'account_id'
    END;
    PERFORM pg_notify('billing_accounts', subject);
    RETURN NULL;
END $$
"""

_WALLETS = """
CREATE FUNCTION billing.announce_wallet() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('billing_wallets', NEW.id::text);
    RETURN NULL;
END $$;

CREATE TRIGGER announce_new AFTER INSERT ON billing.wallets
    FOR EACH ROW EXECUTE FUNCTION billing.announce_wallet();
CREATE TRIGGER announce_change AFTER UPDATE ON billing.wallets
    FOR EACH ROW WHEN (
        (OLD.adjustment_seq, OLD.credit_line_units, OLD.low_balance_units)
        IS DISTINCT FROM (NEW.adjustment_seq, NEW.credit_line_units, NEW.low_balance_units)
    ) EXECUTE FUNCTION billing.announce_wallet()
"""


def upgrade() -> None:
    op.execute(_ACCOUNTS)
    for table in ("accounts", "account_aliases", "subscriptions", "subscription_segments"):
        op.execute(
            f"CREATE TRIGGER announce_account AFTER INSERT OR UPDATE ON billing.{table} "
            "FOR EACH ROW EXECUTE FUNCTION billing.announce_account()"
        )
    op.execute(
        "CREATE TRIGGER announce_account AFTER INSERT ON billing.wallets "
        "FOR EACH ROW EXECUTE FUNCTION billing.announce_account()"
    )
    op.execute(_WALLETS)
