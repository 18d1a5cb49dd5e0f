-- For a decision: the image (nulls if there is none), the tenant's policy for originals, and the database's clock.
-- $1 tenant, $2 image
SELECT now() AS now, t.original_policy, t.original_keep_days, v.*
FROM (SELECT $1::uuid AS tenant_id, $2::uuid AS id) k
LEFT JOIN darkroom.image_view v ON v.tenant_id = k.tenant_id AND v.id = k.id
LEFT JOIN darkroom.tenants t ON t.id = k.tenant_id
