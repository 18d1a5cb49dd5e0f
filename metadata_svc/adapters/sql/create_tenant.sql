-- $1 id, $2 name, $3 policy for originals, $4 its days (or null), $5 to $8 limits
INSERT INTO darkroom.tenants (
    id, name, original_policy, original_keep_days, max_image_bytes, max_images, max_bytes, requests_per_second
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING *
