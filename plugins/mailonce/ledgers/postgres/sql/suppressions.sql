-- Addresses that must not be mailed. A suppression holds as long as it has not been lifted; the row stays, because it
-- tells who lifted it and why, and which events are too old to bring it back.

-- name: suppress
-- Answers when it was done by this call, whether now or by a try whose answer was lost: that one left its token.
WITH added AS (
    INSERT INTO {suppressions} AS suppression (address, reason, since, told_by, key, token, history)
    VALUES (
        %(address)s, %(reason)s, %(since)s, %(by)s, %(key)s, %(token)s,
        jsonb_build_array(jsonb_build_object(
            'at', now(), 'state', 'SUPPRESSED', 'by', %(by)s::text, 'note', %(reason)s::text))
    )
    ON CONFLICT (address) DO UPDATE SET
        reason = EXCLUDED.reason,
        since = EXCLUDED.since,
        told_by = EXCLUDED.told_by,
        key = EXCLUDED.key,
        token = EXCLUDED.token,
        lifted_at = NULL,
        lifted_by = NULL,
        lift_reason = NULL,
        history = suppression.history || EXCLUDED.history
    -- Only one that was lifted, and only by what happened since: an event may be told late, and twice.
    WHERE suppression.lifted_at < EXCLUDED.since
    RETURNING address
)
SELECT address FROM added
UNION ALL
SELECT address FROM {suppressions} WHERE address = %(address)s AND token = %(token)s;

-- name: lift
WITH lifted AS (
    UPDATE {suppressions} SET
        -- The provider's clock may run ahead of ours: the event that made the suppression does not bring it back.
        lifted_at = greatest(now(), since),
        lifted_by = %(by)s,
        lift_reason = %(reason)s,
        token = %(token)s,
        history = history || jsonb_build_object(
            'at', now(), 'state', 'LIFTED', 'by', %(by)s::text, 'note', %(reason)s::text)
    WHERE address = %(address)s AND lifted_at IS NULL
    RETURNING address, reason, since, told_by, key
)
SELECT address, reason, since, told_by, key FROM lifted
UNION ALL
SELECT address, reason, since, told_by, key FROM {suppressions} WHERE address = %(address)s AND token = %(token)s;

-- name: suppressed
SELECT address, reason, since, told_by, key FROM {suppressions}
WHERE address = ANY (%(addresses)s) AND lifted_at IS NULL;

-- name: every_suppression
-- Page by page, as in `of_month`.
SELECT address, reason, since, told_by, key FROM {suppressions}
WHERE address > %(after)s AND lifted_at IS NULL
ORDER BY address
LIMIT %(page)s;
