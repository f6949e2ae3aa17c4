-- What leaves the ledger again.

-- name: erase
-- Whatever is written to a row adds a line to its history: so their number tells whether it stands as it was read. The
-- delivery itself does not change, and neither does `updated_at`.
UPDATE {table} SET
    email = %(email)s,
    fingerprint = '',
    error = %(error)s,
    fate_detail = %(fate_detail)s,
    -- It stands in the history too, without addresses.
    decision_reason = CASE WHEN decision_reason IS NOT NULL THEN 'see the history' END,
    history = %(history)s::jsonb
WHERE key = %(key)s AND email = %(email_before)s AND jsonb_array_length(history) = %(lines_before)s
  AND state IN ('SENT', 'REJECTED', 'CANCELLED')
RETURNING key;

-- name: forget_suppression
DELETE FROM {suppressions} WHERE address = %(address)s RETURNING address;

-- name: mark
-- A mark that holds keeps its words: it may be written again by a purge that goes on after it was stopped.
INSERT INTO {purges} AS purge (campaign, period, edition, purged_at, purged_by, reason, history)
VALUES (
    %(campaign)s, %(period)s, %(edition)s, now(), %(by)s, %(reason)s,
    jsonb_build_array(jsonb_build_object('at', now(), 'state', 'PURGED', 'by', %(by)s::text, 'note', %(reason)s::text))
)
ON CONFLICT (campaign, period, edition) DO UPDATE SET
    purged_at = EXCLUDED.purged_at,
    purged_by = EXCLUDED.purged_by,
    reason = EXCLUDED.reason,
    holds = true,
    history = purge.history || EXCLUDED.history
WHERE NOT purge.holds
RETURNING campaign;

-- name: purged
SELECT campaign, period, edition, purged_at, purged_by, reason FROM {purges}
WHERE campaign = %(campaign)s AND period = %(period)s AND edition = %(edition)s AND holds;

-- name: purges
SELECT campaign, period, edition, purged_at, purged_by, reason FROM {purges}
WHERE holds
ORDER BY campaign COLLATE "C", period COLLATE "C", edition COLLATE "C";

-- name: reopen
UPDATE {purges} SET
    holds = false,
    history = history || jsonb_build_object(
        'at', now(), 'state', 'REOPENED', 'by', %(by)s::text, 'note', %(reason)s::text)
WHERE campaign = %(campaign)s AND period = %(period)s AND edition = %(edition)s AND holds
RETURNING campaign, period, edition, purged_at, purged_by, reason;

-- name: purge
WITH few AS (
    SELECT key FROM {table}
    WHERE campaign = %(campaign)s AND period = %(period)s
      AND (state NOT IN ('SENDING', 'IN_DOUBT') OR (%(unsettled)s AND settled_at < now()))
    ORDER BY recipient_id, key
    LIMIT %(page)s
    FOR UPDATE
)
DELETE FROM {table} AS delivery USING few WHERE delivery.key = few.key
RETURNING delivery.key;

-- name: purge_expired
-- No index knows which rows have expired: it would cost every mail a write. So the table is walked once, by its key.
WITH few AS (
    SELECT key FROM {table} WHERE key > %(after)s ORDER BY key LIMIT %(page)s
), deleted AS (
    DELETE FROM {table} AS delivery USING few
    WHERE delivery.key = few.key AND delivery.expires_at < now()
    RETURNING delivery.key
)
SELECT (SELECT max(key) FROM few) AS last, (SELECT count(*) FROM deleted) AS deleted;
