-- Questions of people who look through the ledger. They change nothing, and walk no more of an index than they answer.
-- Texts are compared by their bytes: that is how the index of `migrations/0006_standing.sql` has them, and no other.

-- name: months
SELECT campaign COLLATE "C" AS campaign, period COLLATE "C" AS period, edition COLLATE "C" AS edition,
       state COLLATE "C" AS state, fate COLLATE "C" AS fate, count(*) AS number, max(updated_at) AS changed_at
FROM {table}
WHERE expires_at IS NULL OR expires_at >= now()
GROUP BY 1, 2, 3, 4, 5;

-- name: totals
SELECT campaign COLLATE "C" AS campaign, period COLLATE "C" AS period, edition COLLATE "C" AS edition,
       state COLLATE "C" AS state, fate COLLATE "C" AS fate, count(*) AS number, max(updated_at) AS changed_at
FROM {table}
WHERE campaign COLLATE "C" = %(campaign)s AND period COLLATE "C" = %(period)s
  AND (expires_at IS NULL OR expires_at >= now())
GROUP BY 1, 2, 3, 4, 5;

-- name: search
-- Within one edition, state and fate the index has the rows in the order of recipient ids. So the first few of each are
-- taken, and of these the first few: it makes no difference how many rows there are, or how rare what is looked for.
WITH RECURSIVE editions AS (
    -- The one that is asked for; or from each to the next, by one look into the index.
    SELECT CASE WHEN %(edition)s <> '' THEN %(edition)s ELSE (
        SELECT min(edition COLLATE "C") FROM {table}
        WHERE campaign COLLATE "C" = %(campaign)s AND period COLLATE "C" = %(period)s
    ) END AS edition
    UNION ALL
    SELECT (
        SELECT min(edition COLLATE "C") FROM {table}
        WHERE campaign COLLATE "C" = %(campaign)s AND period COLLATE "C" = %(period)s
          AND edition COLLATE "C" > editions.edition
    ) FROM editions WHERE editions.edition IS NOT NULL AND %(edition)s = ''
)
SELECT found.*, now() AS read_at
FROM editions CROSS JOIN unnest(%(states)s::text[], %(fates)s::text[]) AS wanted (state, fate) CROSS JOIN LATERAL (
    -- One of the two is empty. In one they would not be looked up in the index, which knows = and IS NULL. Ties are taken
    -- too, and put in order outside: to sort here by the key as well, all could be sorted before the first few are taken.
    (
        SELECT * FROM {table}
        WHERE campaign COLLATE "C" = %(campaign)s AND period COLLATE "C" = %(period)s
          AND edition COLLATE "C" = editions.edition AND state COLLATE "C" = wanted.state
          AND wanted.fate IS NULL AND fate COLLATE "C" IS NULL
          AND recipient_id COLLATE "C" >= %(begin)s AND (%(end)s::text IS NULL OR recipient_id COLLATE "C" < %(end)s)
          AND (recipient_id COLLATE "C", key COLLATE "C") > (%(after_recipient)s, %(after_key)s)
          AND (expires_at IS NULL OR expires_at >= now())
        ORDER BY recipient_id COLLATE "C"
        FETCH FIRST %(page)s ROWS WITH TIES
    )
    UNION ALL
    (
        SELECT * FROM {table}
        WHERE campaign COLLATE "C" = %(campaign)s AND period COLLATE "C" = %(period)s
          AND edition COLLATE "C" = editions.edition AND state COLLATE "C" = wanted.state
          AND fate COLLATE "C" = wanted.fate
          AND recipient_id COLLATE "C" >= %(begin)s AND (%(end)s::text IS NULL OR recipient_id COLLATE "C" < %(end)s)
          AND (recipient_id COLLATE "C", key COLLATE "C") > (%(after_recipient)s, %(after_key)s)
          AND (expires_at IS NULL OR expires_at >= now())
        ORDER BY recipient_id COLLATE "C"
        FETCH FIRST %(page)s ROWS WITH TIES
    )
) AS found
ORDER BY found.recipient_id COLLATE "C", found.key COLLATE "C"
LIMIT %(page)s;

-- name: of_recipient
-- From each month to the next by one look into the index, and one look into each.
WITH RECURSIVE months AS (
    (SELECT campaign, period FROM {table} ORDER BY campaign, period LIMIT 1)
    UNION ALL
    SELECT following.campaign, following.period FROM months CROSS JOIN LATERAL (
        SELECT campaign, period FROM {table}
        WHERE (campaign, period) > (months.campaign, months.period)
        ORDER BY campaign, period
        LIMIT 1
    ) AS following
)
SELECT found.*, now() AS read_at
FROM months CROSS JOIN LATERAL (
    SELECT * FROM {table}
    WHERE campaign = months.campaign AND period = months.period AND recipient_id = %(recipient_id)s
      AND (expires_at IS NULL OR expires_at >= now())
    -- Not taken apart: otherwise every row of the table could be asked for its month.
    OFFSET 0
) AS found
ORDER BY found.period COLLATE "C" DESC, found.campaign COLLATE "C", found.edition COLLATE "C", found.key;
