-- Statements of ledgers/postgres/month_lock.py. They touch no table: advisory locks live in the server's memory.

-- name: month_gate
-- One at a time looks and takes its lock; given back when the transaction ends.
SELECT pg_advisory_xact_lock(%(gate)s)

-- name: month_others
-- Whoever holds a lock of this month for another run. A lock of two keys has objsubid 2.
SELECT coalesce(activity.application_name, '') AS name
FROM pg_locks AS held
LEFT JOIN pg_stat_activity AS activity ON activity.pid = held.pid
WHERE held.locktype = 'advisory' AND held.objsubid = 2 AND held.granted
  AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND held.classid = (%(month)s::bigint & 4294967295)::oid
  AND held.objid <> (%(run)s::bigint & 4294967295)::oid
LIMIT 1

-- name: month_take
-- Of the session, not of the transaction: it is given back, or lost, with the session.
SELECT pg_advisory_lock_shared(%(month)s::integer, %(run)s::integer)

-- name: month_release
SELECT pg_advisory_unlock_shared(%(month)s::integer, %(run)s::integer) AS held
