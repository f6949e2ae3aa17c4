-- One row per address, as `mailonce.suppression.normal` spells it.
CREATE TABLE {suppressions} (
    address text PRIMARY KEY,
    reason text NOT NULL,
    since timestamptz NOT NULL,
    told_by text NOT NULL,
    key text,
    token uuid NOT NULL,
    lifted_at timestamptz,
    lifted_by text,
    lift_reason text,
    history jsonb NOT NULL,

    CONSTRAINT an_address_is_no_empty_text CHECK (address <> ''),
    CONSTRAINT a_lifting_has_an_author_and_a_reason CHECK (
        (lifted_at IS NULL) = (lifted_by IS NULL) AND (lifted_at IS NULL) = (lift_reason IS NULL)
    )
);
