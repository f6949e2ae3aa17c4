-- Which ledger this is. The row is made on first use, and travels with the data: a copy tells where it was made.
CREATE TABLE {epoch} (
    single boolean PRIMARY KEY DEFAULT true,
    id uuid NOT NULL,
    home_system text,
    home_database oid NOT NULL,
    home_deliveries oid NOT NULL,
    runs bigint NOT NULL DEFAULT 0,
    token uuid,
    events_drained_at timestamptz,
    made_at timestamptz NOT NULL DEFAULT now(),
    earlier jsonb NOT NULL DEFAULT jsonb_build_array(),

    CONSTRAINT there_is_one CHECK (single)
);
