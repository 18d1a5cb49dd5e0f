-- The last migration that ran.
SELECT coalesce(max(number), 0) AS number FROM darkroom.migrations
