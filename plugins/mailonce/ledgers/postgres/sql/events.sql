-- What becomes of a delivery after its acceptance.

-- name: observe
-- Each event is told once: the row keeps the ids of those that tell a fate, and whoever waited for a rival's lock finds
-- the rival's there. Every event is proof of acceptance as well, as in `witness`. One line of history for an acceptance
-- that was not known, and one for a fate, so that their number does not depend on which event came first.
UPDATE {table} AS delivery SET
    state = 'SENT',
    message_id = coalesce(message_id, %(message_id)s),
    duplicate_message_ids = CASE WHEN message_id <> %(message_id)s AND %(message_id)s <> ALL (duplicate_message_ids)
        THEN array_append(duplicate_message_ids, %(message_id)s::text) ELSE duplicate_message_ids END,
    sent_at = coalesce(sent_at, now()),
    error = NULL,
    expires_at = CASE WHEN message_id IS NULL THEN now() + retention ELSE expires_at END,
    -- The highest fate stands, whenever it is told. Of one fate told twice the later stands, and of two at one moment
    -- the greater text, so that order means nothing there either.
    (fate, fate_at, fate_detail) = (
        SELECT told.fate, told.moment, told.detail
        FROM (VALUES (delivery.fate, delivery.fate_at, delivery.fate_detail),
                     (%(fate)s::text, %(fate_at)s::timestamptz, %(fate_detail)s::text)) AS told (fate, moment, detail)
        ORDER BY array_position(%(fates)s::text[], told.fate) DESC NULLS LAST, told.moment DESC,
                 coalesce(told.detail, '') COLLATE "C" DESC
        LIMIT 1
    ),
    event_ids = CASE WHEN %(fate)s::text IS NULL THEN event_ids ELSE array_append(event_ids, %(event_id)s::text) END,
    updated_at = now(),
    history = history
        || CASE WHEN message_id = %(message_id)s OR %(message_id)s = ANY (duplicate_message_ids)
            THEN jsonb_build_array() ELSE jsonb_build_array(jsonb_build_object(
                'at', now(), 'state', 'SENT', 'by', %(evidence)s::text, 'note', %(message_id)s::text)) END
        || CASE WHEN %(fate)s::text IS NULL
            THEN jsonb_build_array() ELSE jsonb_build_array(jsonb_build_object(
                'at', now(), 'state', 'SENT', 'by', %(evidence)s::text, 'note', %(note)s::text)) END
WHERE key = %(key)s
  AND (message_id IS NULL
       OR (message_id <> %(message_id)s AND %(message_id)s <> ALL (duplicate_message_ids))
       OR (%(fate)s::text IS NOT NULL AND %(event_id)s <> ALL (event_ids)))
RETURNING delivery.*, now() AS read_at;

-- name: observe_unknown
-- An event about a key without a row that tells whose mail it is: the ledger has forgotten it, or was restored from an
-- older copy. Nothing is returned when somebody has made the row meanwhile: then `observe` finds it.
INSERT INTO {table} AS delivery (
    key, campaign, period, recipient_id, edition, email, fingerprint, state, attempt, message_id, sent_at, updated_at,
    fate, fate_at, fate_detail, event_ids, history
)
VALUES (
    %(key)s, %(campaign)s, %(period)s, %(recipient_id)s, %(edition)s, %(email)s, '', 'SENT', 0, %(message_id)s, now(),
    now(), %(fate)s, %(fate_at)s, %(fate_detail)s,
    CASE WHEN %(fate)s::text IS NULL THEN ARRAY[]::text[] ELSE ARRAY[%(event_id)s::text] END,
    jsonb_build_array(jsonb_build_object(
        'at', now(), 'state', 'SENT', 'by', %(evidence)s::text, 'note', %(message_id)s::text))
    || CASE WHEN %(fate)s::text IS NULL
        THEN jsonb_build_array() ELSE jsonb_build_array(jsonb_build_object(
            'at', now(), 'state', 'SENT', 'by', %(evidence)s::text, 'note', %(note)s::text)) END
)
ON CONFLICT (key) DO NOTHING
RETURNING delivery.*, now() AS read_at;
