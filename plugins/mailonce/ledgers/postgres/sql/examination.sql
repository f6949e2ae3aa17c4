-- Questions about the server and the tables. They change nothing.

-- name: server
SELECT current_setting('server_version_num')::integer AS version_number,
       current_setting('server_version') AS version,
       pg_is_in_recovery() AS in_recovery,
       current_setting('transaction_read_only') AS transaction_read_only,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('session_replication_role') AS session_replication_role,
       current_user::text AS role;

-- name: schema
-- Where the table is, or would be made.
SELECT nspname::text AS name,
       has_schema_privilege(oid, 'USAGE') AS may_use,
       has_schema_privilege(oid, 'CREATE') AS may_create
FROM pg_namespace WHERE nspname = coalesce(%(schema)s, current_schema());

-- name: tables
SELECT wanted.name,
       found.oid,
       found.relpersistence = 'p' AS survives_a_crash,
       pg_has_role(found.relowner, 'USAGE') AS owned,
       ARRAY(SELECT privilege FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS privilege
             WHERE NOT has_table_privilege(found.oid, privilege)) AS not_permitted
FROM unnest(%(names)s::text[]) AS wanted (name) JOIN pg_class AS found ON found.oid = to_regclass(wanted.name);

-- name: constraints
-- NOT VALID: old rows may break it. PostgreSQL 18 also knows constraints that are not enforced at all.
SELECT conname::text AS name, contype::text AS kind,
       convalidated AND coalesce((to_jsonb(found) ->> 'conenforced')::boolean, true) AS holds
FROM pg_constraint AS found WHERE conrelid = %(oid)s;

-- name: guard
SELECT tgenabled::text AS enabled FROM pg_trigger
WHERE tgrelid = %(oid)s AND tgname = 'guard' AND NOT tgisinternal;
