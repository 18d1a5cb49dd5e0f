-- Registers a batch: one row with the outcomes of all items, then one for each image that was there before.
SELECT now() AS now, c.outcomes, c.ord, (c.image).*
FROM darkroom.create_images(
    $1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bigint[], $8::bytea[], $9::smallint[],
    $10::text[], $11::text[], $12::double precision[], $13::text[], $14::interval, $15::interval
) c
