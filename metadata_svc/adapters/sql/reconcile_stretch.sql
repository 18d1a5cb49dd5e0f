-- The next images in the order of their keys, whatever their state; one row of nulls where there are none. $1 and $2
-- tenant and image to begin after, $3 and $4 those to end with, $5 at most
SELECT
    now() AS now, i.tenant_id, i.id, i.state, i.updated_at, i.upload_expires_at, i.original_removed_at,
    ARRAY(SELECT v ->> 'key' FROM jsonb_array_elements(i.variants) v) AS keys
FROM (SELECT) one
LEFT JOIN (
    SELECT n.*
    FROM darkroom.images n
    WHERE (n.tenant_id, n.id) > ($1::uuid, $2::uuid) AND (n.tenant_id, n.id) <= ($3::uuid, $4::uuid)
    ORDER BY n.tenant_id, n.id
    LIMIT $5
) i ON true
ORDER BY i.tenant_id, i.id
