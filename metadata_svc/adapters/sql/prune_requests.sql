-- Forgets idempotency keys past their life of $2 seconds. $1 at most
DELETE FROM darkroom.requests
WHERE ctid = ANY (ARRAY(
    SELECT r.ctid FROM darkroom.requests r
    WHERE r.created_at <= now() - make_interval(secs => $2)
    ORDER BY r.created_at
    LIMIT $1
))
RETURNING 1
