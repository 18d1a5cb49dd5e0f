-- A page, nearest first. $1 tenant, $2 like this image, $3 states, $4 and $5 tags, $6 content, $7 largest distance,
-- $8 distance and $9 id of the last one before, $10 size
SELECT s.distance, (s.image).*
FROM darkroom.list_similar($1, $2, $3::smallint[], $4::text[], $5::text[], $6, $7, $8, $9, $10) s
