"""Imports of event files, archives of months, and the days that left the event table.

Revision: 0004
Follows: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Whoever would aggregate or rate days that are in an archive alone must be stopped: what is missing
# from the event table would be replaced by nothing.
_REQUIRE_RESTORED = """
CREATE FUNCTION usage.require_restored(from_day date, to_day date) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE months text;
BEGIN
    SELECT string_agg(DISTINCT to_char(a.month, 'YYYY-MM'), ' ') INTO months
    FROM usage.archived_days d JOIN usage.archives a ON a.id = d.archive_id
    WHERE d.dropped AND d.day >= from_day AND d.day < to_day;
    IF months IS NOT NULL THEN
        RAISE EXCEPTION 'events from % to % are archived', from_day, to_day
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'billing events restore ' || months;
    END IF;
END $$
"""


def _imports() -> None:
    op.create_table(
        "imports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("file_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("options_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("rows_done", sa.BigInteger(), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("errors_bytes", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "rows_done >= 0 AND errors_bytes >= 0", name=op.f("ck_imports_progress_positive")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
        sa.UniqueConstraint("file_sha256", "options_sha256", name=op.f("uq_imports_file_sha256")),
        schema="usage",
    )


def _archives() -> None:
    states = ("writing", "verified", "archived", "restored")
    op.create_table(
        "archives",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                *states,
                name="archivestate_known",
                native_enum=False,
                create_constraint=True,
                length=32,
                schema="usage",
            ),
            nullable=False,
        ),
        sa.Column("manifest", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("restored_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "extract(day FROM month) = 1", name=op.f("ck_archives_month_is_its_first_day")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archives")),
        sa.UniqueConstraint("month", name=op.f("uq_archives_month")),
        schema="usage",
    )
    op.create_table(
        "archived_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("first_revisions", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Numeric(38, 6), nullable=False),
        sa.Column("vendor_cost", sa.Numeric(38, 6), nullable=False),
        sa.Column("dropped", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "rows > 0 AND first_revisions BETWEEN 0 AND rows",
            name=op.f("ck_archived_days_some_rows"),
        ),
        sa.ForeignKeyConstraint(
            ["archive_id"], ["usage.archives.id"], name=op.f("fk_archived_days_archive_id")
        ),
        sa.PrimaryKeyConstraint("day", "shard", name=op.f("pk_archived_days")),
        schema="usage",
    )
    op.create_index(
        op.f("ix_archived_days_archive_id"), "archived_days", ["archive_id"], schema="usage"
    )


def upgrade() -> None:
    _imports()
    _archives()
    op.execute(_REQUIRE_RESTORED)
