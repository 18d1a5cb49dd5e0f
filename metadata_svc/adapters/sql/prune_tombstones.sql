-- Forgets deleted images whose time as tombstones is over. $1 at most
DELETE FROM darkroom.images i
USING (
    SELECT t.tenant_id, t.id
    FROM darkroom.images t
    WHERE t.due_at <= now() AND t.state = 7 AND t.purged_at IS NOT NULL
    ORDER BY t.due_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
) over
WHERE i.tenant_id = over.tenant_id AND i.id = over.id
RETURNING i.id
