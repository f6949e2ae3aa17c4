-- One row per key. The constraints say what each state must hold, and the guard which state may follow which,
-- so that no statement, not even one typed by hand, can leave a row that the protocol does not know.
CREATE TABLE {table} (
    key text PRIMARY KEY,
    campaign text NOT NULL,
    period text NOT NULL,
    recipient_id text NOT NULL,
    edition text NOT NULL,
    email text NOT NULL,
    fingerprint text NOT NULL,
    state text NOT NULL,
    attempt integer NOT NULL,
    token uuid,
    claimed_by text,
    claimed_at timestamptz,
    deadline_at timestamptz,
    settled_at timestamptz,
    message_id text,
    duplicate_message_ids text[] NOT NULL DEFAULT ARRAY[]::text[],
    sent_at timestamptz,
    error text,
    decided_by text,
    decision_reason text,
    decided_at timestamptz,
    retention interval,
    expires_at timestamptz,
    updated_at timestamptz NOT NULL,
    history jsonb NOT NULL DEFAULT jsonb_build_array(),

    CONSTRAINT key_is_a_sha256 CHECK (key ~ '^[0-9a-f]+$' AND length(key) = 64),
    CONSTRAINT state_is_known CHECK (state IN ('SENDING', 'SENT', 'RELEASED', 'REJECTED', 'IN_DOUBT', 'CANCELLED')),
    -- Without a token nobody could prove to be the owner; without the moments nobody could tell when it is over.
    CONSTRAINT a_claim_has_an_owner_and_a_deadline CHECK (
        state NOT IN ('SENDING', 'IN_DOUBT')
        OR (token IS NOT NULL AND claimed_at IS NOT NULL AND deadline_at IS NOT NULL AND settled_at IS NOT NULL)
    ),
    CONSTRAINT settled_after_the_deadline CHECK (claimed_at <= deadline_at AND deadline_at <= settled_at),
    -- A stale owner must find no token of its own on a row that may be claimed again.
    CONSTRAINT a_free_row_has_no_owner CHECK (state <> 'RELEASED' OR token IS NULL),
    CONSTRAINT sent_is_proved_or_decided CHECK (
        state <> 'SENT' OR (sent_at IS NOT NULL AND (message_id IS NOT NULL OR decided_by IS NOT NULL))
    ),
    CONSTRAINT a_message_id_means_sent CHECK (message_id IS NULL OR state = 'SENT'),
    CONSTRAINT a_duplicate_needs_a_first CHECK (cardinality(duplicate_message_ids) = 0 OR message_id IS NOT NULL),
    CONSTRAINT a_refusal_has_a_reason CHECK (state NOT IN ('REJECTED', 'IN_DOUBT') OR error IS NOT NULL),
    CONSTRAINT a_decision_has_an_author_and_a_reason CHECK (
        (decided_by IS NULL) = (decision_reason IS NULL) AND (state <> 'CANCELLED' OR decided_by IS NOT NULL)
    ),
    CONSTRAINT only_what_is_finished_expires CHECK (
        expires_at IS NULL OR state IN ('SENT', 'REJECTED', 'CANCELLED')
    )
    -- Room on the page, so that the second write of a delivery touches no index.
) WITH (fillfactor = 70);

-- Questions of people: one month of a campaign, and everything that one address ever got.
CREATE INDEX {index_month} ON {table} (campaign, period, recipient_id);
CREATE INDEX {index_address} ON {table} (email, claimed_at DESC);

CREATE FUNCTION {guard}() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (
        ('SENDING', 'SENT'), ('SENDING', 'RELEASED'), ('SENDING', 'REJECTED'), ('SENDING', 'IN_DOUBT'),
        ('RELEASED', 'SENDING'), ('RELEASED', 'SENT'), ('RELEASED', 'CANCELLED'),
        ('REJECTED', 'RELEASED'), ('REJECTED', 'CANCELLED'), ('REJECTED', 'SENT'),
        ('IN_DOUBT', 'SENT'), ('IN_DOUBT', 'RELEASED'), ('IN_DOUBT', 'REJECTED'), ('IN_DOUBT', 'CANCELLED'),
        ('CANCELLED', 'SENT'), ('CANCELLED', 'RELEASED')
    ) AND NOT (NEW.state = 'SENDING' AND coalesce(OLD.expires_at < now(), false)) THEN
        RAISE EXCEPTION 'mailonce: a delivery may not go from % to % (key %)', OLD.state, NEW.state, OLD.key
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$guard$;

CREATE TRIGGER guard BEFORE UPDATE OF state ON {table}
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION {guard}();
