-- The life of a delivery up to its acceptance. Each statement, here and in the files beside, is one atomic step: it runs
-- in a transaction of its own, waits for a rival's row lock, and then sees what the rival wrote. All moments are the
-- database's clock.

-- name: claim
-- time ──▶   worker A: claim ─────── send ─────── conclude(SENT)
--            worker B:        claim ──▶ finds SENDING under A's token: does not send
--            worker A again (its answer was lost): finds its own token: the claim is won, and not counted twice
-- Every parameter is an array with one element a claim; the keys are distinct.
WITH attempt AS (
    INSERT INTO {table} AS delivery (
        key, campaign, period, recipient_id, edition, email, fingerprint, state, attempt, token, claimed_by,
        claimed_at, deadline_at, settled_at, retention, updated_at, history
    )
    SELECT
        key, campaign, period, recipient_id, edition, email, fingerprint, 'SENDING', 1, token, claimed_by,
        now(), now() + lasts, now() + lasts + settles, kept, now(),
        jsonb_build_array(jsonb_build_object('at', now(), 'state', 'SENDING', 'by', claimed_by, 'note', NULL))
    FROM unnest(
        %(key)s::text[], %(campaign)s::text[], %(period)s::text[], %(recipient_id)s::text[], %(edition)s::text[],
        %(email)s::text[], %(fingerprint)s::text[], %(token)s::uuid[], %(by)s::text[], %(window)s::interval[],
        %(settle)s::interval[], %(retention)s::interval[]
    ) AS claim (
        key, campaign, period, recipient_id, edition, email, fingerprint, token, claimed_by, lasts, settles, kept
    )
    -- Everybody locks rows in the same order: otherwise two that share some would wait for each other.
    ORDER BY key
    ON CONFLICT (key) DO UPDATE SET
        -- A key recipe may leave the period out: the row belongs to the month whose run sends it.
        campaign = EXCLUDED.campaign,
        period = EXCLUDED.period,
        recipient_id = EXCLUDED.recipient_id,
        edition = EXCLUDED.edition,
        email = EXCLUDED.email,
        fingerprint = EXCLUDED.fingerprint,
        state = 'SENDING',
        attempt = CASE WHEN delivery.expires_at < now() THEN 1 ELSE delivery.attempt + 1 END,
        token = EXCLUDED.token,
        claimed_by = EXCLUDED.claimed_by,
        claimed_at = EXCLUDED.claimed_at,
        deadline_at = EXCLUDED.deadline_at,
        settled_at = EXCLUDED.settled_at,
        retention = EXCLUDED.retention,
        updated_at = EXCLUDED.updated_at,
        -- An expired row is as good as none: nothing of it may be taken for news of this claim.
        message_id = NULL,
        duplicate_message_ids = ARRAY[]::text[],
        sent_at = NULL,
        error = NULL,
        decided_by = NULL,
        decision_reason = NULL,
        decided_at = NULL,
        expires_at = NULL,
        fate = NULL,
        fate_at = NULL,
        fate_detail = NULL,
        event_ids = ARRAY[]::text[],
        history = CASE WHEN delivery.expires_at < now() THEN EXCLUDED.history
                       ELSE delivery.history || EXCLUDED.history END
    WHERE delivery.state = 'RELEASED' OR delivery.expires_at < now()
    RETURNING delivery.*
)
SELECT *, now() AS read_at FROM attempt
UNION ALL
-- This half sees a row as it was when the statement began. If it was free then, somebody else has it by now, and
-- nothing is answered: the claim is to be made again.
SELECT *, now() AS read_at FROM {table}
WHERE key = ANY (%(key)s) AND key NOT IN (SELECT key FROM attempt)
  AND state <> 'RELEASED' AND (expires_at IS NULL OR expires_at >= now());

-- name: conclude
-- A proof ends a doubt: the owner's late answer counts as long as nobody has decided or claimed since. Every parameter
-- is an array with one element a conclusion; the keys are distinct.
WITH conclusion AS (
    SELECT * FROM unnest(%(key)s::text[], %(token)s::uuid[], %(state)s::text[], %(message_id)s::text[], %(error)s::text[])
        AS conclusion (key, token, state, message_id, error)
), locked AS (
    -- In the same order as everybody, as above.
    SELECT key FROM {table} WHERE key = ANY (%(key)s) ORDER BY key FOR UPDATE
)
UPDATE {table} AS delivery SET
    state = conclusion.state,
    message_id = conclusion.message_id,
    error = conclusion.error,
    sent_at = CASE WHEN conclusion.state = 'SENT' THEN now() END,
    token = CASE WHEN conclusion.state IN ('SENT', 'IN_DOUBT') THEN delivery.token END,
    expires_at = CASE WHEN conclusion.state IN ('SENT', 'REJECTED') THEN now() + retention END,
    updated_at = now(),
    history = history || jsonb_build_object(
        'at', now(), 'state', conclusion.state, 'by', claimed_by,
        'note', coalesce(conclusion.error, conclusion.message_id))
FROM conclusion JOIN locked USING (key)
WHERE delivery.key = conclusion.key AND delivery.token = conclusion.token
  AND delivery.state IN ('SENDING', 'IN_DOUBT') AND delivery.state <> conclusion.state
RETURNING delivery.*, now() AS read_at;

-- name: take_over
-- Of several who want to ask at once, one finds the token that it names: the others see its successor.
UPDATE {table} AS delivery SET
    token = %(successor)s,
    updated_at = now(),
    history = history || jsonb_build_object('at', now(), 'state', state, 'by', %(by)s::text, 'note', %(note)s::text)
WHERE key = %(key)s AND state = 'IN_DOUBT' AND token = %(token)s::uuid
RETURNING delivery.*, now() AS read_at;

-- name: witness
-- Late truth always wins; a second message id stands beside the first.
UPDATE {table} AS delivery SET
    state = 'SENT',
    message_id = coalesce(message_id, %(message_id)s),
    duplicate_message_ids = CASE WHEN message_id <> %(message_id)s
        THEN array_append(duplicate_message_ids, %(message_id)s::text) ELSE duplicate_message_ids END,
    sent_at = coalesce(sent_at, now()),
    error = NULL,
    -- Kept from its first proof on; an older end, of a refusal or a cancellation, would make it sendable again.
    expires_at = CASE WHEN message_id IS NULL THEN now() + retention ELSE expires_at END,
    updated_at = now(),
    history = history || jsonb_build_object(
        'at', now(), 'state', 'SENT', 'by', %(evidence)s::text, 'note', %(message_id)s::text)
WHERE key = %(key)s
  AND (message_id IS NULL OR (message_id <> %(message_id)s AND %(message_id)s <> ALL (duplicate_message_ids)))
RETURNING delivery.*, now() AS read_at;

-- name: witness_unknown
-- Proof for a key without a row: the ledger has forgotten it, or was restored from an older copy. Nothing is returned
-- when somebody has made the row meanwhile: then `witness` finds it.
INSERT INTO {table} AS delivery (
    key, campaign, period, recipient_id, edition, email, fingerprint, state, attempt, message_id, sent_at, updated_at,
    history
)
VALUES (
    %(key)s, %(campaign)s, %(period)s, %(recipient_id)s, %(edition)s, %(email)s, %(fingerprint)s, 'SENT', 0,
    %(message_id)s, now(), now(),
    jsonb_build_array(jsonb_build_object(
        'at', now(), 'state', 'SENT', 'by', %(evidence)s::text, 'note', %(message_id)s::text))
)
ON CONFLICT (key) DO NOTHING
RETURNING delivery.*, now() AS read_at;

-- name: decide
-- A mail in doubt is released only once its claim is settled: nothing that its owner signed can be accepted any more.
-- To cancel it meanwhile and release that is no way round: the doubt is as old as it was.
UPDATE {table} AS delivery SET
    state = %(state)s,
    token = CASE WHEN %(state)s = 'SENT' THEN token END,
    sent_at = CASE WHEN %(state)s = 'SENT' THEN now() END,
    decided_by = %(by)s,
    decision_reason = %(reason)s,
    decided_at = now(),
    expires_at = CASE WHEN %(state)s IN ('SENT', 'CANCELLED') THEN now() + retention END,
    updated_at = now(),
    history = history || jsonb_build_object(
        'at', now(), 'state', %(state)s::text, 'by', %(by)s::text, 'note', %(reason)s::text)
WHERE key = %(key)s
  AND (%(token)s::uuid IS NULL OR token = %(token)s)
  AND CASE %(state)s
        WHEN 'SENT' THEN state = 'IN_DOUBT'
        WHEN 'RELEASED' THEN state = 'REJECTED' OR (state IN ('IN_DOUBT', 'CANCELLED') AND settled_at < now())
        WHEN 'CANCELLED' THEN state IN ('IN_DOUBT', 'RELEASED', 'REJECTED')
      END
RETURNING delivery.*, now() AS read_at;

-- name: row
-- What a write left alone, expired or not.
SELECT *, now() AS read_at FROM {table} WHERE key = %(key)s;

-- name: find
SELECT *, now() AS read_at FROM {table}
WHERE key = ANY (%(keys)s) AND (expires_at IS NULL OR expires_at >= now());

-- name: of_month
-- Page by page, so that no connection and no transaction is held while the caller thinks about a row.
SELECT *, now() AS read_at FROM {table}
WHERE campaign = %(campaign)s AND period = %(period)s AND (recipient_id, key) > (%(after_recipient)s, %(after_key)s)
  AND (expires_at IS NULL OR expires_at >= now())
ORDER BY recipient_id, key
LIMIT %(page)s;

-- name: of_address
SELECT *, now() AS read_at FROM {table}
WHERE email = %(email)s AND (expires_at IS NULL OR expires_at >= now())
ORDER BY claimed_at DESC NULLS LAST;
