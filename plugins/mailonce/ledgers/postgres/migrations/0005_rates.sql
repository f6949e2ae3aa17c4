-- How fast each account's mails may leave, and which slots are taken: `mailonce.rate.Timetable`, one row per account.
CREATE TABLE {rates} (
    account text PRIMARY KEY,
    maximum double precision NOT NULL,
    share double precision NOT NULL DEFAULT 1,
    slower_from timestamptz NOT NULL DEFAULT now(),
    free_from timestamptz NOT NULL DEFAULT now(),
    spacing interval NOT NULL DEFAULT interval '0',

    CONSTRAINT a_rate_is_above_nothing CHECK (maximum > 0 AND maximum < 'infinity'),
    CONSTRAINT a_share_is_a_part_of_the_whole CHECK (share > 0 AND share <= 1)
);
