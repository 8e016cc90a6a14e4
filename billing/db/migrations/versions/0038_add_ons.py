"""Add-ons: other plans beside a subscription's own, with segments of theirs.

Revision: 0038
Follows: 0037
"""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

_ADD_ONS = """
ALTER TABLE billing.price_plans ADD COLUMN is_add_on boolean NOT NULL DEFAULT false;
ALTER TABLE billing.subscription_segments
    ADD COLUMN add_on_id uuid,
    ADD COLUMN added_on date,
    ADD CONSTRAINT ck_subscription_segments_whole_add_on
        CHECK (num_nonnulls(add_on_id, added_on) IN (0, 2)),
    ADD CONSTRAINT ck_subscription_segments_within_add_on CHECK (starts_on >= added_on),
    DROP CONSTRAINT uq_subscription_segments_subscription_id_starts_on,
    ADD CONSTRAINT uq_subscription_segments_subscription_id_add_on_id_starts_on
        UNIQUE NULLS NOT DISTINCT (subscription_id, add_on_id, starts_on);
ALTER TABLE billing.subscription_changes
    DROP CONSTRAINT ck_subscription_changes_changekind_known,
    ADD CONSTRAINT ck_subscription_changes_changekind_known CHECK (
        kind IN ('start', 'upgrade', 'downgrade', 'change', 'seats', 'pause', 'resume', 'end',
            'renew', 'add_on', 'remove_add_on', 'migrate', 'undo')
    )
"""

# Two add-ons may share days, and share them with the plan; segments of one of them may not.
_NO_OVERLAP = """
CREATE FUNCTION billing.refuse_overlap_of_segments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('subscription_segments' || NEW.subscription_id::text));
    -- Rows as they stand at commit: what was written in between may have moved or gone again.
    IF EXISTS (
        SELECT 1 FROM billing.subscription_segments own
        JOIN billing.subscription_segments other ON other.subscription_id = own.subscription_id
            AND other.id <> own.id
            AND other.add_on_id IS NOT DISTINCT FROM own.add_on_id
            AND daterange(other.starts_on, other.ends_on) && daterange(own.starts_on, own.ends_on)
        WHERE own.id = NEW.id
    ) THEN
        RAISE EXCEPTION 'subscription_segments % to % overlaps another of subscription %',
            NEW.starts_on, NEW.ends_on, NEW.subscription_id USING ERRCODE = 'exclusion_violation';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER segments_do_not_overlap ON billing.subscription_segments;
CREATE CONSTRAINT TRIGGER segments_do_not_overlap
    AFTER INSERT OR UPDATE ON billing.subscription_segments DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_overlap_of_segments()
"""


def upgrade() -> None:
    """Let segments belong to add-ons."""
    op.execute(_ADD_ONS)
    op.execute(_NO_OVERLAP)
