-- Which months were deleted, on purpose: one row for each edition of a month. A row stays when its month is opened again.
CREATE TABLE {purges} (
    campaign text NOT NULL,
    period text NOT NULL,
    edition text NOT NULL,
    purged_at timestamptz NOT NULL,
    purged_by text NOT NULL,
    reason text NOT NULL,
    holds boolean NOT NULL DEFAULT true,
    history jsonb NOT NULL,

    PRIMARY KEY (campaign, period, edition),
    CONSTRAINT a_purge_has_an_author_and_a_reason CHECK (purged_by <> '' AND reason <> '')
);
