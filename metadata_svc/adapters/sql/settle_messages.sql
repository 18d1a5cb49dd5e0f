-- Removes what was sent ($1), and puts off what could not be ($2) by so many seconds ($3).
WITH sent AS (
    DELETE FROM darkroom.outbox o WHERE o.id = ANY ($1::uuid[])
)
UPDATE darkroom.outbox o
SET next_at = now() + make_interval(secs => f.wait)
FROM unnest($2::uuid[], $3::double precision[]) f (id, wait)
WHERE o.id = f.id
