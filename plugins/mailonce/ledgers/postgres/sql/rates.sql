-- How fast an account's mails may leave. The decisions are those of `mailonce.rate.Timetable`; here each is one statement
-- that waits for a rival's row lock and then counts on from what the rival wrote. The constants are the module's.

-- name: reserve
-- No crash of the server can do harm here, so nobody waits for the disk: slots that are handed out again are a moment's
-- haste. `spacing` is kept because what is returned is made of the row as it stands afterwards.
UPDATE {rates} AS rate SET
    (free_from, spacing) = (
        SELECT starts_at + %(slots)s * spacing, spacing
        FROM (SELECT greatest(rate.free_from, now()) AS starts_at) AS first_slot,
        LATERAL (
            SELECT interval '1 second' / (rate.maximum * least(
                1, rate.share + %(recovery)s * greatest(0, extract(epoch FROM starts_at - rate.slower_from))
            )::double precision) AS spacing
        ) AS pace
    )
FROM (SELECT set_config('synchronous_commit', 'off', true)) AS hasty
WHERE account = %(account)s
-- By now this statement may have waited for a lock: the wait counts from the moment of the answer.
RETURNING extract(epoch FROM free_from - %(slots)s * spacing - clock_timestamp())::double precision AS wait,
          extract(epoch FROM spacing)::double precision AS spacing;

-- name: throttled
UPDATE {rates} SET
    share = greatest(%(slowest)s, %(slowdown)s * least(
        1, share + %(recovery)s * greatest(0, extract(epoch FROM now() - slower_from))::double precision)),
    slower_from = greatest(free_from, now())
WHERE account = %(account)s AND (share = 1 OR now() >= slower_from + %(forbearance)s)
RETURNING account;

-- name: limit
INSERT INTO {rates} AS rate (account, maximum) VALUES (%(account)s, %(maximum)s)
ON CONFLICT (account) DO UPDATE SET
    maximum = EXCLUDED.maximum,
    (free_from, slower_from) = (
        SELECT ends_at, least(rate.slower_from, ends_at)
        FROM (
            SELECT now() + greatest(interval '0', rate.free_from - now())
                * least(1, rate.maximum / EXCLUDED.maximum) AS ends_at
        ) AS reserved
    )
WHERE rate.maximum <> EXCLUDED.maximum
RETURNING account;
