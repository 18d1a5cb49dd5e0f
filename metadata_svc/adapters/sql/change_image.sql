-- Writes one decided change with all that follows from it, if the image is still as it was read.
-- $1 tenant, $2 image, $3 version as read, $4 columns that change (jsonb), $5 new tags (jsonb or null),
-- $6 messages [{id, kind, data}] (jsonb), $7 images and $8 bytes to add to the usage
WITH changed AS (
    UPDATE darkroom.images i
    SET (
        state, version, revision, filename, content_type, size, sha256, presets, updated_at, ready_at, attempt,
        counted, running, held_until, format, width, height, frames, thumbhash, color, perceptual_hash, variants,
        problem_type, problem_title, problem_detail, original_removed_at, purged_at, due_at, render_until
    ) = (
        SELECT
            r.state, r.version, r.revision, r.filename, r.content_type, r.size, r.sha256, r.presets, r.updated_at,
            r.ready_at, r.attempt, r.counted, r.running, r.held_until, r.format, r.width, r.height, r.frames,
            r.thumbhash, r.color, r.perceptual_hash, r.variants, r.problem_type, r.problem_title, r.problem_detail,
            r.original_removed_at, r.purged_at, r.due_at, r.render_until
        FROM jsonb_populate_record(i, $4::jsonb) r
    )
    WHERE i.tenant_id = $1 AND i.id = $2 AND i.version = $3
    RETURNING i.tenant_id, i.id, i.traceparent
), told AS (
    INSERT INTO darkroom.outbox (id, kind, tenant_id, image_id, data, traceparent, created_at, next_at)
    SELECT m.id, m.kind, c.tenant_id, c.id, m.data, c.traceparent, now(), now()
    FROM changed c
    CROSS JOIN jsonb_to_recordset($6::jsonb) m (id uuid, kind text, data jsonb)
), counted AS (
    INSERT INTO darkroom.usage_deltas (tenant_id, images, bytes)
    SELECT c.tenant_id, $7::bigint, $8::bigint FROM changed c WHERE $7::bigint <> 0 OR $8::bigint <> 0
), untagged AS (
    DELETE FROM darkroom.tags t USING changed c
    WHERE $5::jsonb = '{}' AND t.tenant_id = c.tenant_id AND t.image_id = c.id
)
SELECT 1 FROM changed
