"""The rules the database keeps by itself: append-only history, chains, balances, no overlaps.

Revision: 0002
Follows: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_APPEND_ONLY = (
    "billing.audit_log",
    "billing.ledger_transactions",
    "billing.ledger_entries",
    "billing.wallet_adjustments",
    "billing.invoice_allocations",
    "billing.invoice_documents",
    "usage.event_key",
    "usage.usage_debits",
    "usage.superseded_events",
    "usage.event_conflicts",
    "usage.redis_compensations",
)

_REFUSE_CHANGE = """
CREATE FUNCTION billing.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: correct it with a new row', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$
"""

_LEDGER_BALANCES = """
CREATE FUNCTION billing.ledger_transaction_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE remainder numeric;
BEGIN
    SELECT sum(amount_units) INTO remainder
    FROM billing.ledger_entries WHERE transaction_id = NEW.transaction_id;
    IF remainder <> 0 THEN
        RAISE EXCEPTION 'ledger transaction % does not balance: % units over',
            NEW.transaction_id, remainder USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER ledger_transaction_balances
    AFTER INSERT ON billing.ledger_entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing.ledger_transaction_balances()
"""

_WALLET_CHAIN = """
CREATE FUNCTION billing.wallet_entry_follows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE previous_balance bigint;
BEGIN
    IF NEW.wallet_seq = 1 THEN
        previous_balance := 0;
    ELSE
        SELECT balance_after_units INTO previous_balance FROM billing.ledger_entries
        WHERE wallet_id = NEW.wallet_id AND wallet_seq = NEW.wallet_seq - 1;
    END IF;
    IF previous_balance IS NULL THEN
        RAISE EXCEPTION 'wallet % has no entry % before entry %',
            NEW.wallet_id, NEW.wallet_seq - 1, NEW.wallet_seq USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.balance_after_units <> previous_balance + NEW.amount_units THEN
        RAISE EXCEPTION 'wallet % entry %: % + % is not %', NEW.wallet_id, NEW.wallet_seq,
            previous_balance, NEW.amount_units, NEW.balance_after_units
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER wallet_entry_follows
    AFTER INSERT ON billing.ledger_entries FOR EACH ROW WHEN (NEW.account = 'wallet')
    EXECUTE FUNCTION billing.wallet_entry_follows()
"""

_WALLET_IS_ITS_LEDGER = """
CREATE FUNCTION billing.wallet_equals_last_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE last_seq bigint; last_balance bigint; current billing.wallets;
BEGIN
    SELECT * INTO current FROM billing.wallets WHERE id = NEW.id;
    SELECT wallet_seq, balance_after_units INTO last_seq, last_balance FROM billing.ledger_entries
    WHERE wallet_id = NEW.id AND wallet_seq IS NOT NULL ORDER BY wallet_seq DESC LIMIT 1;
    IF current.entry_seq <> coalesce(last_seq, 0)
            OR current.balance_units <> coalesce(last_balance, 0) THEN
        RAISE EXCEPTION 'wallet % says %/% but its ledger %/%', NEW.id, current.entry_seq,
            current.balance_units, coalesce(last_seq, 0), coalesce(last_balance, 0)
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER wallet_equals_last_entry
    AFTER INSERT OR UPDATE OF balance_units, entry_seq ON billing.wallets
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing.wallet_equals_last_entry()
"""

_AUDIT_CHAIN = """
CREATE FUNCTION billing.chain_audit_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- One appender at a time, until commit: numbers have no gaps and hashes follow each other.
    PERFORM pg_advisory_xact_lock(hashtext('billing.audit_log'));
    SELECT seq + 1, hash INTO NEW.seq, NEW.previous_hash
    FROM billing.audit_log ORDER BY seq DESC LIMIT 1;
    IF NOT FOUND THEN
        NEW.seq := 1;
        NEW.previous_hash := decode(repeat('00', 32), 'hex');
    END IF;
    NEW.hash := sha256(
        NEW.previous_hash || convert_to(NEW.seq::text || E'\\n' || NEW.entry, 'UTF8')
    );
    RETURN NEW;
END $$;

CREATE TRIGGER chain_audit_entry BEFORE INSERT ON billing.audit_log
    FOR EACH ROW EXECUTE FUNCTION billing.chain_audit_entry()
"""

_NO_OVERLAP = """
CREATE FUNCTION billing.refuse_overlap() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE clashes boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext(TG_TABLE_NAME || NEW.subscription_id::text));
    EXECUTE format(
        'SELECT EXISTS (SELECT 1 FROM billing.%I other WHERE other.subscription_id = $1
            AND other.id <> $2
            AND daterange(other.starts_on, other.ends_on) && daterange($3, $4))', TG_TABLE_NAME)
        INTO clashes USING NEW.subscription_id, NEW.id, NEW.starts_on, NEW.ends_on;
    IF clashes THEN
        RAISE EXCEPTION '% % to % overlaps another of subscription %', TG_TABLE_NAME,
            NEW.starts_on, NEW.ends_on, NEW.subscription_id USING ERRCODE = 'exclusion_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER segments_do_not_overlap
    AFTER INSERT OR UPDATE ON billing.subscription_segments DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_overlap();
CREATE CONSTRAINT TRIGGER periods_do_not_overlap
    AFTER INSERT OR UPDATE ON billing.billing_periods DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_overlap()
"""

_ISSUED_IS_FROZEN = """
CREATE FUNCTION billing.refuse_change_of_issued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = 'draft' THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'invoice % is issued and cannot be deleted', OLD.number
            USING ERRCODE = 'restrict_violation';
    END IF;
    -- Only collection moves on after issue.
    IF to_jsonb(OLD) - ARRAY['status', 'settled_minor', 'updated_at']
            <> to_jsonb(NEW) - ARRAY['status', 'settled_minor', 'updated_at'] THEN
        RAISE EXCEPTION 'invoice % is issued and frozen: correct it with a note', OLD.number
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER refuse_change_of_issued BEFORE UPDATE OR DELETE ON billing.invoices
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change_of_issued();

CREATE FUNCTION billing.refuse_change_of_issued_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE issued_number text; subject uuid;
BEGIN
    IF TG_TABLE_NAME = 'invoice_lines' THEN
        subject := CASE WHEN TG_OP = 'INSERT' THEN NEW.invoice_id ELSE OLD.invoice_id END;
    ELSE
        SELECT invoice_id INTO subject FROM billing.invoice_lines
        WHERE id = CASE WHEN TG_OP = 'INSERT' THEN NEW.invoice_line_id
                        ELSE OLD.invoice_line_id END;
    END IF;
    SELECT number INTO issued_number FROM billing.invoices
    WHERE id = subject AND status <> 'draft';
    IF FOUND THEN
        RAISE EXCEPTION 'invoice % is issued: its lines are frozen', issued_number
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE TRIGGER refuse_change_of_issued BEFORE INSERT OR UPDATE OR DELETE ON billing.invoice_lines
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change_of_issued_line();
CREATE TRIGGER refuse_change_of_issued BEFORE INSERT OR UPDATE OR DELETE ON billing.tax_lines
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change_of_issued_line()
"""

_INVOICE_ADDS_UP = """
CREATE FUNCTION billing.invoice_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE lines bigint; taxes bigint; allocated bigint; current billing.invoices;
BEGIN
    SELECT * INTO current FROM billing.invoices WHERE id = NEW.id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(sum(amount_minor), 0) INTO lines
    FROM billing.invoice_lines WHERE invoice_id = NEW.id;
    SELECT coalesce(sum(t.tax_minor), 0) INTO taxes
    FROM billing.tax_lines t JOIN billing.invoice_lines l ON l.id = t.invoice_line_id
    WHERE l.invoice_id = NEW.id;
    SELECT coalesce(sum(amount_minor), 0) INTO allocated
    FROM billing.invoice_allocations WHERE invoice_id = NEW.id;
    IF (lines, taxes, allocated)
            <> (current.taxable_minor, current.tax_minor, current.settled_minor) THEN
        RAISE EXCEPTION 'invoice % does not add up: lines %, taxes %, allocations %',
            NEW.id, lines, taxes, allocated USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER invoice_adds_up
    AFTER INSERT OR UPDATE ON billing.invoices DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing.invoice_adds_up()
"""

_PUBLISHED_IS_FROZEN = """
CREATE FUNCTION billing.refuse_change_of_published() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE version_id uuid;
BEGIN
    version_id := CASE TG_TABLE_NAME
        WHEN 'charges' THEN (to_jsonb(coalesce(NEW, OLD)) ->> 'plan_version_id')::uuid
        WHEN 'rates' THEN (SELECT plan_version_id FROM billing.charges
            WHERE id = (to_jsonb(coalesce(NEW, OLD)) ->> 'charge_id')::uuid)
        ELSE (SELECT c.plan_version_id FROM billing.charges c
            JOIN billing.rates r ON r.charge_id = c.id
            WHERE r.id = (to_jsonb(coalesce(NEW, OLD)) ->> 'rate_id')::uuid)
    END;
    IF EXISTS (SELECT 1 FROM billing.price_plan_versions
               WHERE id = version_id AND status <> 'draft') THEN
        RAISE EXCEPTION 'plan version % is published: its prices never change', version_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE TRIGGER refuse_change_of_published BEFORE INSERT OR UPDATE OR DELETE ON billing.charges
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change_of_published();
CREATE TRIGGER refuse_change_of_published BEFORE INSERT OR UPDATE OR DELETE ON billing.rates
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change_of_published();
CREATE TRIGGER refuse_change_of_published BEFORE INSERT OR UPDATE OR DELETE ON billing.rate_tiers
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change_of_published()
"""

_SHARD_MOVES_FORWARD = """
CREATE FUNCTION usage.shard_moves_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.epoch < OLD.epoch OR NEW.accept_seq < OLD.accept_seq
            OR (NEW.epoch = OLD.epoch
                AND (NEW.cursor_ms, NEW.cursor_seq) < (OLD.cursor_ms, OLD.cursor_seq)) THEN
        RAISE EXCEPTION 'shard % would move back', OLD.shard USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER shard_moves_forward BEFORE UPDATE ON usage.shard_state
    FOR EACH ROW EXECUTE FUNCTION usage.shard_moves_forward()
"""


def upgrade() -> None:
    op.execute(_REFUSE_CHANGE)
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION billing.refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER not_truncated BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change()"
        )
    for rule in (
        _LEDGER_BALANCES,
        _WALLET_CHAIN,
        _WALLET_IS_ITS_LEDGER,
        _AUDIT_CHAIN,
        _NO_OVERLAP,
        _ISSUED_IS_FROZEN,
        _INVOICE_ADDS_UP,
        _PUBLISHED_IS_FROZEN,
        _SHARD_MOVES_FORWARD,
    ):
        op.execute(rule)
