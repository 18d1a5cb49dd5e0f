-- A page, newest first. $1 tenant, $2 states, $3 and $4 tags, $5 content, $6 id of the last one before, $7 size
SELECT
    l.tenant_id, l.id, l.state, l.revision, l.filename, l.content_type, l.size, l.sha256, l.upload_method,
    l.presets, l.upload_expires_at, l.created_at, l.updated_at, l.ready_at, l.format, l.width, l.height, l.frames,
    l.thumbhash, l.color, l.perceptual_hash, l.variants, l.problem_type, l.problem_title, l.problem_detail,
    l.original_removed_at, l.tags
FROM darkroom.list_images($1, $2::smallint[], $3::text[], $4::text[], $5, $6, $7) l
