-- Which ledger this is: one row.

-- name: system
-- What initdb gave this cluster. A physical standby has the same, and so a failover is no move. A service may forbid the
-- question: for that it stands alone.
SELECT system_identifier::text AS system FROM pg_control_system();

-- name: place
-- A restore into another database gives another number, and so does CREATE DATABASE … TEMPLATE; a table that was dropped
-- and brought back from a dump has another number too. Names tell nothing: they may be changed, and they may be reused.
SELECT oid AS database, to_regclass({name})::oid AS deliveries FROM pg_database WHERE datname = current_database();

-- name: make_epoch
INSERT INTO {epoch} (id, home_system, home_database, home_deliveries)
VALUES (%(id)s, %(system)s, %(database)s, %(deliveries)s)
ON CONFLICT DO NOTHING;

-- name: epoch
SELECT *, now() AS read_at FROM {epoch};

-- name: advance
-- A try whose answer was lost left its token, and is not counted again.
UPDATE {epoch} SET runs = runs + 1, token = %(token)s
WHERE token IS DISTINCT FROM %(token)s
RETURNING *, now() AS read_at;

-- name: drained
UPDATE {epoch} SET events_drained_at = %(moment)s
WHERE events_drained_at IS NULL OR events_drained_at < %(moment)s
RETURNING *, now() AS read_at;

-- name: adopt
UPDATE {epoch} SET
    id = %(id)s,
    home_system = %(system)s,
    home_database = %(database)s,
    home_deliveries = %(deliveries)s,
    made_at = now(),
    earlier = earlier || jsonb_build_object(
        'id', id, 'made_at', made_at, 'runs', runs, 'home_system', home_system,
        'home_database', home_database::bigint, 'home_deliveries', home_deliveries::bigint,
        'ended_at', now(), 'by', %(by)s::text, 'reason', %(reason)s::text)
WHERE id <> %(id)s
RETURNING *, now() AS read_at;
