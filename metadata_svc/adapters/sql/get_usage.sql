-- $1 tenant
SELECT * FROM darkroom.get_usage($1)
