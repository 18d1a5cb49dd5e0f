-- Adds appended usage to the tenants' sums. Several folders may run: each takes what the others have not. The sums are
-- written in the order of tenants, so that two folders cannot deadlock. $1 at most
WITH taken AS (
    DELETE FROM darkroom.usage_deltas
    WHERE ctid = ANY (ARRAY(SELECT d.ctid FROM darkroom.usage_deltas d LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING tenant_id, images, bytes
)
INSERT INTO darkroom.usage AS u (tenant_id, images, bytes)
SELECT t.tenant_id, sum(t.images), sum(t.bytes) FROM taken t GROUP BY t.tenant_id ORDER BY t.tenant_id
ON CONFLICT (tenant_id) DO UPDATE SET images = u.images + excluded.images, bytes = u.bytes + excluded.bytes
RETURNING 1
