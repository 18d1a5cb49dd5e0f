-- Whether the database answers, and takes writes.
SELECT current_setting('transaction_read_only') AS read_only
