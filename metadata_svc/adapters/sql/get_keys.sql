-- What is known of API keys, revoked ones included. $1 ids
SELECT
    k.id, k.tenant_id, k.kind, k.scopes, k.secret_sha256, k.revoked_at IS NOT NULL AS is_revoked,
    t.max_image_bytes, t.max_images, t.max_bytes, t.requests_per_second
FROM darkroom.api_keys k
JOIN darkroom.tenants t ON t.id = k.tenant_id
WHERE k.id = ANY ($1::text[])
