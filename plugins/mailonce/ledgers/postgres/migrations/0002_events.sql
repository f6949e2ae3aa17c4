-- What became of a mail after its acceptance, and which of the provider's events have told so.
ALTER TABLE {table}
    ADD COLUMN fate text,
    ADD COLUMN fate_at timestamptz,
    ADD COLUMN fate_detail text,
    ADD COLUMN event_ids text[] NOT NULL DEFAULT ARRAY[]::text[],
    ADD CONSTRAINT fate_is_known CHECK (fate IN ('DELAYED', 'DELIVERED', 'BOUNCED', 'DROPPED', 'COMPLAINED')),
    ADD CONSTRAINT a_fate_befell_a_mail CHECK (fate IS NULL OR message_id IS NOT NULL),
    -- Without the event's id the same event could be told again.
    ADD CONSTRAINT a_fate_was_told_by_an_event CHECK (
        (fate IS NULL) = (fate_at IS NULL) AND (fate IS NULL) = (cardinality(event_ids) = 0)
        AND (fate IS NOT NULL OR fate_detail IS NULL)
    );
