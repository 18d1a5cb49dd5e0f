-- A page, newest first. $1 tenant, $2 states, $3 and $4 tags, $5 content, $6 id of the last one before, $7 size
SELECT * FROM darkroom.list_images($1, $2::smallint[], $3::text[], $4::text[], $5, $6, $7)
