-- $1 id, $2 id of the same key in API Gateway, or null
UPDATE darkroom.api_keys SET gateway_key_id = $2 WHERE id = $1 RETURNING id
