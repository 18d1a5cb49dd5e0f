-- $1 tenants (each once), $2 how many requests each wants
SELECT tenant_id, granted, second FROM darkroom.lease_requests($1::uuid[], $2::integer[])
