-- Removes what was sent ($1), puts off what could not be ($2) by so many seconds ($3), and says whether something is
-- due now: what waited behind these, too.
WITH sent AS (
    DELETE FROM darkroom.outbox o WHERE o.id = ANY ($1::uuid[])
), put_off AS (
    UPDATE darkroom.outbox o
    SET next_at = now() + make_interval(secs => f.wait)
    FROM unnest($2::uuid[], $3::double precision[]) f (id, wait)
    WHERE o.id = f.id
)
SELECT EXISTS (SELECT FROM darkroom.outbox o WHERE o.next_at <= now()) AS more
