-- Run once by the postgres image, when its volume is empty. The database `airflow` is made by the image itself.
-- One server for everything is for trying out: in production the ledger belongs where it is backed up and never
-- restored to an older state (docs/run-books.md, "Restoring a ledger").
CREATE DATABASE ledger;
CREATE DATABASE usage;
