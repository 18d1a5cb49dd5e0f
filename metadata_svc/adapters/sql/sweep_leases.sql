-- Forgets request leases of seconds that are over. $1 at most
DELETE FROM darkroom.request_leases
WHERE ctid = ANY (ARRAY(
    SELECT l.ctid FROM darkroom.request_leases l WHERE l.second < extract(epoch FROM now()) - 10 LIMIT $1
))
RETURNING 1
