-- Keys of a tenant, or of all where it is null; never their hashes. $1 tenant
SELECT k.id, k.tenant_id, t.name AS tenant, k.kind, k.scopes, k.gateway_key_id, k.created_at, k.revoked_at
FROM darkroom.api_keys k
JOIN darkroom.tenants t ON t.id = k.tenant_id
WHERE $1::uuid IS NULL OR k.tenant_id = $1
ORDER BY k.created_at, k.id
