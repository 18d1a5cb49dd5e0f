-- Tenants of an id or a name; all where it is null. $1 id or name
SELECT * FROM darkroom.tenants t WHERE $1::text IS NULL OR t.id::text = $1 OR t.name = $1 ORDER BY t.created_at, t.id
