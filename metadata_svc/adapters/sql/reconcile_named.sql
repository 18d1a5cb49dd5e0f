-- Those of some images that there are; one row of nulls where there are none. $1 tenants, $2 images
SELECT
    now() AS now, i.tenant_id, i.id, i.state, i.updated_at, i.upload_expires_at, i.original_removed_at,
    ARRAY(SELECT v ->> 'key' FROM jsonb_array_elements(i.variants) v) AS keys
FROM (SELECT) one
LEFT JOIN (
    SELECT e.*
    FROM unnest($1::uuid[], $2::uuid[]) n (tenant_id, id)
    JOIN darkroom.images e ON e.tenant_id = n.tenant_id AND e.id = n.id
) i ON true
