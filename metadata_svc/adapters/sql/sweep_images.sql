-- Gives the orders that are due: what awaits its bytes past the deadline is checked, what lost its message in work is
-- processed, originals go as the policy asked when the image was settled, objects of deleted images are purged. Each
-- is due again in $2 seconds, in case no report comes. $1 at most
WITH due AS (
    SELECT i.tenant_id, i.id
    FROM darkroom.images i
    WHERE i.due_at <= now() AND i.purged_at IS NULL
    ORDER BY i.due_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE darkroom.images i
    SET due_at = now() + make_interval(secs => $2)
    FROM due
    WHERE i.tenant_id = due.tenant_id AND i.id = due.id
    RETURNING i.tenant_id, i.id, i.state, i.traceparent
)
INSERT INTO darkroom.outbox (id, kind, tenant_id, image_id, traceparent, created_at, next_at)
SELECT
    gen_random_uuid(),
    CASE c.state
        WHEN 1 THEN 'darkroom.check_upload/1'
        WHEN 2 THEN 'darkroom.process/1'
        WHEN 7 THEN 'darkroom.purge/1'
        ELSE 'darkroom.remove_original/1'
    END,
    c.tenant_id, c.id, c.traceparent, now(), now()
FROM claimed c
RETURNING kind
