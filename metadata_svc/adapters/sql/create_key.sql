-- $1 id, $2 tenant, $3 kind, $4 scopes, $5 SHA-256 of the secret part
INSERT INTO darkroom.api_keys (id, tenant_id, kind, scopes, secret_sha256) VALUES ($1, $2, $3, $4, $5) RETURNING id
