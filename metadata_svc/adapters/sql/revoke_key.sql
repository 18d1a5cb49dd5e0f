-- The time of the first revocation stands. $1 id
UPDATE darkroom.api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING id, gateway_key_id
