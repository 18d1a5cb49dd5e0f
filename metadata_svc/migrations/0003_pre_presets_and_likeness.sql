-- Reprocessing, rendering on demand, and an index for the search by likeness.

-- Until when an image that is being rendered on demand may still be given an object; null where it never was. A
-- deletion purges once more after that.
ALTER TABLE darkroom.images ADD COLUMN render_until timestamptz;
-- When its owner last asked for the processing anew; null where nobody did. What is older than this is over.
ALTER TABLE darkroom.images ADD COLUMN ordered_at timestamptz;

CREATE OR REPLACE VIEW darkroom.image_view WITH (security_invoker = true) AS
SELECT
    i.tenant_id, i.id, i.state, i.version, i.revision, i.filename, i.content_type, i.size, i.sha256, i.upload_method, i.presets,
    i.traceparent, i.upload_expires_at, i.created_at, i.updated_at, i.ready_at, i.attempt, i.counted, i.running,
    i.held_until, i.format, i.width, i.height, i.frames, i.thumbhash, i.color, i.perceptual_hash, i.variants,
    i.problem_type, i.problem_title, i.problem_detail, i.original_removed_at, i.deleted_at, i.receipt, i.purge_after,
    i.purged_at, i.due_at,
    (
        SELECT jsonb_object_agg(t.key, t.value)
        FROM darkroom.tags t
        WHERE t.tenant_id = i.tenant_id AND t.image_id = i.id
    ) AS tags,
    i.render_until, i.ordered_at
FROM darkroom.images i;

-- An owner who asks for an image to be processed again takes its verdict back: no facts, no variants, no attempt.
GRANT UPDATE (counted, ready_at, ordered_at, problem_type, problem_title, problem_detail) ON darkroom.images TO darkroom_app;

CREATE OR REPLACE FUNCTION darkroom.change_own_image(
    tenant uuid, image uuid, expected bigint, change jsonb, new_tags jsonb, messages jsonb, images_delta bigint,
    bytes_delta bigint
) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    trace text;
BEGIN
    PERFORM set_config('darkroom.tenants', ARRAY[tenant]::text, true);
    UPDATE darkroom.images i
    SET (
        state, version, revision, updated_at, upload_expires_at, deleted_at, receipt, purge_after, due_at, counted,
        ready_at, ordered_at, problem_type, problem_title, problem_detail
    ) = (
        SELECT
            r.state, r.version, r.revision, r.updated_at, r.upload_expires_at, r.deleted_at, r.receipt, r.purge_after,
            r.due_at, r.counted, r.ready_at, r.ordered_at, r.problem_type, r.problem_title, r.problem_detail
        FROM jsonb_populate_record(i, change) r
    )
    WHERE i.tenant_id = tenant AND i.id = image AND i.version = expected
    RETURNING i.traceparent INTO trace;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF new_tags IS NOT NULL THEN
        DELETE FROM darkroom.tags t WHERE t.tenant_id = tenant AND t.image_id = image;
        INSERT INTO darkroom.tags (tenant_id, image_id, key, value)
        SELECT tenant, image, t.key, t.value FROM jsonb_each_text(new_tags) t;
    END IF;
    INSERT INTO darkroom.outbox (id, kind, tenant_id, image_id, data, traceparent, created_at, next_at)
    SELECT m.id, m.kind, tenant, image, m.data, trace, now(), now()
    FROM jsonb_to_recordset(messages) m (id uuid, kind text, data jsonb);
    IF images_delta <> 0 OR bytes_delta <> 0 THEN
        INSERT INTO darkroom.usage_deltas (tenant_id, images, bytes) VALUES (tenant, images_delta, bytes_delta);
    END IF;
    RETURN 1;
END
$$;

-- The search by likeness. A hash of 64 bits is cut into four chunks of 16; each image has a row for each of its chunks,
-- under `slot`: the number of the chunk (0 to 3) in the bits above 16, its value below.
--
-- Two hashes that differ in at most d bits cannot differ in more than r_i bits in every chunk i when the r_i + 1 add up
-- to d + 1 (the pigeonhole principle in its general form: Qin et al., "GPH: Similarity Search in Hamming Space", ICDE
-- 2018). So the images within d bits are among those that share a slot with one of the sought hash's chunks, each
-- changed in at most r_i bits: for d = 10 some 430 slots of 262,144, each one probe of the primary key.
--
-- A table beside `images`: an index on an expression could not be used under row-level security (`>>` is not
-- leakproof), and columns of `images` would have to be written with every other change of it.
CREATE TABLE darkroom.likeness (
    tenant_id uuid NOT NULL,
    slot integer NOT NULL,
    image_id uuid NOT NULL,
    perceptual_hash bigint NOT NULL,
    PRIMARY KEY (tenant_id, slot, image_id) INCLUDE (perceptual_hash)
);
ALTER TABLE darkroom.likeness ENABLE ROW LEVEL SECURITY;
ALTER TABLE darkroom.likeness FORCE ROW LEVEL SECURITY;
CREATE POLICY maintenance ON darkroom.likeness TO darkroom_maintenance USING (true) WITH CHECK (true);
CREATE POLICY app ON darkroom.likeness TO darkroom_app
    USING (tenant_id = ANY ((SELECT darkroom.tenants_in_scope())::uuid[]))
    WITH CHECK (tenant_id = ANY ((SELECT darkroom.tenants_in_scope())::uuid[]));
-- The request path reads it, and clears it for an image that it deletes.
GRANT SELECT, DELETE ON darkroom.likeness TO darkroom_app;
GRANT SELECT, INSERT, DELETE ON darkroom.likeness TO darkroom_maintenance;

-- The four slots of a hash.
CREATE FUNCTION darkroom.likeness_slots(hash bigint) RETURNS integer[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY[
    ((hash >> 48) & 65535)::integer,
    (1 << 16) | ((hash >> 32) & 65535)::integer,
    (2 << 16) | ((hash >> 16) & 65535)::integer,
    (3 << 16) | (hash & 65535)::integer
];

-- Every number of 16 bits in which at most so many (0 to 3) are set; none for fewer than 0.
CREATE FUNCTION darkroom.likeness_flips(most integer) RETURNS SETOF integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT 0 WHERE most >= 0
    UNION ALL
    SELECT 1 << a FROM generate_series(0, 15) a WHERE most >= 1
    UNION ALL
    SELECT (1 << a) | (1 << b) FROM generate_series(0, 15) a, generate_series(0, 15) b WHERE most >= 2 AND a < b
    UNION ALL
    SELECT (1 << a) | (1 << b) | (1 << c)
    FROM generate_series(0, 15) a, generate_series(0, 15) b, generate_series(0, 15) c
    WHERE most >= 3 AND a < b AND b < c;
END;

-- The slots of which every hash within `distance` bits (0 to 15) has one. In PL/pgSQL, because a function in SQL is
-- planned anew at each call.
CREATE FUNCTION darkroom.likeness_probes(hash bigint, distance integer) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN ARRAY(
        -- distance + 1, in four parts as even as can be; a chunk may differ in one bit less than its part.
        SELECT s.slot # f.flip
        FROM unnest(darkroom.likeness_slots(hash)) WITH ORDINALITY s (slot, ord)
        CROSS JOIN LATERAL darkroom.likeness_flips((distance + 5 - s.ord::integer) / 4 - 1) f (flip)
    );
END
$$;

CREATE FUNCTION darkroom.keep_likeness() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.perceptual_hash IS NOT NULL THEN
        DELETE FROM darkroom.likeness l
        WHERE l.tenant_id = OLD.tenant_id AND l.slot = ANY (darkroom.likeness_slots(OLD.perceptual_hash))
            AND l.image_id = OLD.id;
    END IF;
    IF NEW.perceptual_hash IS NOT NULL AND NEW.state <> 7 THEN
        INSERT INTO darkroom.likeness (tenant_id, slot, image_id, perceptual_hash)
        SELECT NEW.tenant_id, s.slot, NEW.id, NEW.perceptual_hash
        FROM unnest(darkroom.likeness_slots(NEW.perceptual_hash)) s (slot);
    END IF;
    RETURN NULL;
END
$$;
-- A trigger, so that a release that knows nothing of the table keeps it, too, while both run.
CREATE TRIGGER likeness_made AFTER INSERT ON darkroom.images
    FOR EACH ROW WHEN (NEW.perceptual_hash IS NOT NULL)
    EXECUTE FUNCTION darkroom.keep_likeness();
CREATE TRIGGER likeness_changed AFTER UPDATE ON darkroom.images
    FOR EACH ROW WHEN (
        OLD.perceptual_hash IS DISTINCT FROM NEW.perceptual_hash
        OR NEW.perceptual_hash IS NOT NULL AND (OLD.state = 7) <> (NEW.state = 7)
    )
    EXECUTE FUNCTION darkroom.keep_likeness();

-- What is there already. The owner of the tables sees no tenant's rows unless it lets itself, for this transaction.
ALTER TABLE darkroom.images NO FORCE ROW LEVEL SECURITY;
ALTER TABLE darkroom.likeness NO FORCE ROW LEVEL SECURITY;
INSERT INTO darkroom.likeness (tenant_id, slot, image_id, perceptual_hash)
SELECT i.tenant_id, s.slot, i.id, i.perceptual_hash
FROM darkroom.images i
CROSS JOIN LATERAL unnest(darkroom.likeness_slots(i.perceptual_hash)) s (slot)
WHERE i.perceptual_hash IS NOT NULL AND i.state <> 7;
ALTER TABLE darkroom.images FORCE ROW LEVEL SECURITY;
ALTER TABLE darkroom.likeness FORCE ROW LEVEL SECURITY;

-- A tenant's images by the Hamming distance of their perceptual hashes to that of one of them, nearest first, then
-- newest; after (distance, id) of the page before. Null distance: that image is not there, or has no hash.
CREATE OR REPLACE FUNCTION darkroom.list_similar(
    tenant uuid, likeness_of uuid, states smallint[], tag_keys text[], tag_values text[], content_sha256 bytea,
    max_distance integer, after_distance integer, before uuid, page integer
) RETURNS TABLE (distance integer, image darkroom.image_view)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    sought bigint;
    probes integer[];
BEGIN
    PERFORM set_config('darkroom.tenants', ARRAY[tenant]::text, true);
    SELECT i.perceptual_hash INTO sought FROM darkroom.images i
    WHERE i.tenant_id = tenant AND i.id = likeness_of AND i.state <> 7;
    IF sought IS NULL THEN
        RETURN QUERY SELECT NULL::integer, NULL::darkroom.image_view;
        RETURN;
    END IF;
    probes := darkroom.likeness_probes(sought, max_distance);
    RETURN QUERY
    WITH near AS MATERIALIZED (
        -- From the index alone. An image may share more than one slot.
        SELECT DISTINCT l.image_id AS id, bit_count((l.perceptual_hash # sought)::bit(64))::integer AS distance
        FROM darkroom.likeness l
        WHERE l.tenant_id = tenant AND l.slot = ANY (probes)
            AND bit_count((l.perceptual_hash # sought)::bit(64)) <= max_distance
    )
    SELECT n.distance, e.image
    FROM near n
    CROSS JOIN LATERAL (
        SELECT v AS image
        FROM darkroom.image_view v
        WHERE v.tenant_id = tenant AND v.id = n.id AND v.state = ANY (states)
            AND (content_sha256 IS NULL OR v.sha256 = content_sha256)
        LIMIT 1
    ) e
    WHERE n.id <> likeness_of
        AND (after_distance IS NULL OR n.distance > after_distance OR n.distance = after_distance AND n.id < before)
        AND (cardinality(tag_keys) = 0 OR darkroom.has_tags(tenant, n.id, tag_keys, tag_values))
    ORDER BY n.distance, n.id DESC
    LIMIT page;
END
$$;

-- What the search read through before.
DROP INDEX darkroom.images_by_likeness;
