-- Takes messages that are due, for $2 seconds; who does not send them by then leaves them to another relay. An image's
-- events go out in the order in which they were written, its commands too: one waits while an older one of its sort
-- is there. $1 at most
WITH due AS (
    SELECT o.id
    FROM darkroom.outbox o
    WHERE o.next_at <= now()
        AND NOT EXISTS (
            SELECT FROM darkroom.outbox e
            WHERE e.tenant_id = o.tenant_id AND e.image_id = o.image_id AND e.created_at < o.created_at
                AND starts_with(e.kind, 'image.') = starts_with(o.kind, 'image.')
        )
    ORDER BY o.next_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
UPDATE darkroom.outbox o
SET next_at = now() + make_interval(secs => $2), attempts = o.attempts + 1
FROM due
WHERE o.id = due.id
RETURNING o.id, o.kind, o.tenant_id, o.image_id, o.data::text AS data, o.traceparent, o.created_at, o.attempts
