-- As change_image, for a tenant's own image; null if it has changed since.
SELECT 1 FROM darkroom.change_own_image($1, $2, $3, $4::jsonb, $5::jsonb, $6::jsonb, $7, $8) c (done) WHERE done = 1
