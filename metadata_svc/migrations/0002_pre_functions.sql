-- What the request path calls. Each function first says whose rows its transaction may see, so that one round trip
-- does both; the rows it was given are joined on (tenant, id), so that tenants in one batch never see each other's.
--
-- They run with the caller's rights. Plans are generic (nothing is planned anew at each call) and must be good whatever
-- the planner believes of sizes: sequential scans are off, and a row of a large table is fetched by a lateral with
-- LIMIT 1, which can only be a probe of its index.

-- An image as it is read: its row, and its tags as one JSON object (null where it has none).
CREATE VIEW darkroom.image_view WITH (security_invoker = true) AS
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
    ) AS tags
FROM darkroom.images i;
GRANT SELECT ON darkroom.image_view TO darkroom_app, darkroom_maintenance;

-- How many images and bytes a tenant may still add: its limits less the folded usage and all committed deltas. A view,
-- because a function in SQL is planned anew at each call.
CREATE VIEW darkroom.room_left WITH (security_invoker = true) AS
SELECT
    t.id AS tenant_id,
    t.max_images - coalesce(u.images, 0) - coalesce(d.images, 0) AS images,
    t.max_bytes - coalesce(u.bytes, 0) - coalesce(d.bytes, 0) AS bytes
FROM darkroom.tenants t
LEFT JOIN LATERAL (
    SELECT u.images, u.bytes FROM darkroom.usage u WHERE u.tenant_id = t.id LIMIT 1
) u ON true
CROSS JOIN LATERAL (
    SELECT sum(d.images)::bigint AS images, sum(d.bytes)::bigint AS bytes
    FROM darkroom.usage_deltas d
    WHERE d.tenant_id = t.id
) d;
GRANT SELECT ON darkroom.room_left TO darkroom_app;

-- Registers a batch of images of any tenants. The arrays are parallel; `request_ids` holds null for "none", `presets`
-- the names joined by commas, `tags` a JSON object or null, `times_to_live` seconds.
--
-- The first row holds the outcomes of all items, in their order, and nothing else: 1 created (the caller knows all of
-- it); 2 there before; 3 the request id came with other content; 4 unknown tenant; 5 larger than the tenant's limit; 6
-- too many images; 7 too many bytes. A row follows for each item with outcome 2: its place in the batch, and the image
-- as it stands, its deadline extended if it awaits its upload.
--
-- Quotas are checked against the folded usage plus all committed deltas. Batches that run at the same moment do not see
-- each other, so a tenant may overshoot by what is in flight: at most connections × batch size images.
--
-- Locks are taken in one global order (requests by key, then images by id), so that batches cannot deadlock.
CREATE FUNCTION darkroom.create_images(
    tenant_ids uuid[],
    image_ids uuid[],
    request_ids text[],
    request_sha256s bytea[],
    filenames text[],
    content_types text[],
    sizes bigint[],
    sha256s bytea[],
    upload_methods smallint[],
    preset_lists text[],
    tag_objects text[],
    times_to_live double precision[],
    traceparents text[],
    request_life interval,
    grace interval
) RETURNS TABLE (outcomes smallint[], ord integer, image darkroom.image_view)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    started CONSTANT timestamptz := now();
    has_requests CONSTANT boolean := array_remove(request_ids, NULL) <> '{}';
    targets uuid[]; -- the image that answers the item
    leaders integer[]; -- the first item of the batch that asks for the same
    crowded uuid[];
    room_of uuid;
    room record;
    lost integer[];
    item record;
BEGIN
    PERFORM set_config(
        'darkroom.tenants', (SELECT array_agg(DISTINCT t.id) FROM unnest(tenant_ids) t (id))::text, true
    );

    SELECT
        array_agg(v.outcome ORDER BY v.ord), array_agg(v.target ORDER BY v.ord), array_agg(v.leader ORDER BY v.ord)
    INTO outcomes, targets, leaders
    FROM (
        SELECT
            i.ord,
            CASE
                WHEN t.max_image_bytes IS NULL THEN 4
                WHEN r.image_id IS NOT NULL AND r.request_sha256 <> i.request_sha256 THEN 3
                WHEN r.image_id IS NOT NULL OR e.known THEN 2
                WHEN i.size > t.max_image_bytes THEN 5
                ELSE 0
            END::smallint AS outcome,
            coalesce(r.image_id, i.image_id) AS target,
            CASE
                WHEN i.request_id IS NULL THEN min(i.ord) OVER (PARTITION BY i.tenant_id, i.image_id)
                ELSE min(i.ord) OVER (PARTITION BY i.tenant_id, i.request_id)
            END::integer AS leader
        FROM unnest(tenant_ids, image_ids, request_ids, request_sha256s, sizes)
            WITH ORDINALITY i (tenant_id, image_id, request_id, request_sha256, size, ord)
        LEFT JOIN LATERAL (
            SELECT t.max_image_bytes FROM darkroom.tenants t WHERE t.id = i.tenant_id LIMIT 1
        ) t ON true
        LEFT JOIN LATERAL (
            SELECT r.image_id, r.request_sha256
            FROM darkroom.requests r
            WHERE r.tenant_id = i.tenant_id AND r.request_id = i.request_id
                AND r.created_at + request_life > started -- not a range for the index by age
            LIMIT 1
        ) r ON has_requests
        LEFT JOIN LATERAL (
            SELECT true AS known FROM darkroom.images e WHERE e.tenant_id = i.tenant_id AND e.id = i.image_id LIMIT 1
        ) e ON true
    ) v;

    -- Followers wait for what becomes of their leaders: -1 until then.
    FOR item IN SELECT l.ord FROM unnest(leaders) WITH ORDINALITY l (leader, ord) WHERE l.leader <> l.ord LOOP
        IF outcomes[item.ord] = 0 THEN
            outcomes[item.ord] := -1;
        END IF;
    END LOOP;

    SELECT array_agg(g.tenant_id) INTO crowded
    FROM (
        SELECT i.tenant_id, count(*) AS images, sum(i.size) AS bytes
        FROM unnest(tenant_ids, sizes, outcomes) i (tenant_id, size, outcome)
        WHERE i.outcome = 0
        GROUP BY i.tenant_id
    ) g
    JOIN darkroom.room_left f ON f.tenant_id = g.tenant_id
    WHERE g.images > f.images OR g.bytes > f.bytes;
    IF crowded IS NOT NULL THEN
        -- One by one, so that what does not fit does not keep out what does.
        FOR item IN
            SELECT i.ord, i.size, i.tenant_id
            FROM unnest(tenant_ids, sizes, outcomes) WITH ORDINALITY i (tenant_id, size, outcome, ord)
            WHERE i.outcome = 0 AND i.tenant_id = ANY (crowded)
            ORDER BY i.tenant_id, i.ord
        LOOP
            IF item.tenant_id IS DISTINCT FROM room_of THEN
                room_of := item.tenant_id;
                SELECT r.images, r.bytes INTO room FROM darkroom.room_left r WHERE r.tenant_id = room_of;
            END IF;
            IF room.images < 1 THEN
                outcomes[item.ord] := 6;
            ELSIF room.bytes < item.size THEN
                outcomes[item.ord] := 7;
            ELSE
                room.images := room.images - 1;
                room.bytes := room.bytes - item.size;
            END IF;
        END LOOP;
    END IF;

    IF has_requests THEN
        -- Waits for a transaction that is about to commit the same request; a request past its life is taken over.
        WITH won AS (
            INSERT INTO darkroom.requests AS r (tenant_id, request_id, image_id, request_sha256, created_at)
            SELECT i.tenant_id, i.request_id, i.image_id, i.request_sha256, started
            FROM unnest(tenant_ids, request_ids, image_ids, request_sha256s, outcomes)
                i (tenant_id, request_id, image_id, request_sha256, outcome)
            WHERE i.outcome = 0 AND i.request_id IS NOT NULL
            ORDER BY i.tenant_id, i.request_id
            ON CONFLICT (tenant_id, request_id) DO UPDATE
                SET image_id = excluded.image_id,
                    request_sha256 = excluded.request_sha256,
                    created_at = excluded.created_at
                WHERE r.created_at <= started - request_life
            RETURNING r.tenant_id, r.request_id
        )
        SELECT array_agg(i.ord) INTO lost
        FROM unnest(tenant_ids, request_ids, outcomes) WITH ORDINALITY i (tenant_id, request_id, outcome, ord)
        LEFT JOIN won ON won.tenant_id = i.tenant_id AND won.request_id = i.request_id
        WHERE i.outcome = 0 AND i.request_id IS NOT NULL AND won.request_id IS NULL;

        -- A new statement sees what the winner of the race committed.
        FOR item IN
            SELECT l.ord, r.image_id, r.request_sha256 = request_sha256s[l.ord] AS is_same
            FROM unnest(lost) l (ord)
            JOIN darkroom.requests r ON r.tenant_id = tenant_ids[l.ord] AND r.request_id = request_ids[l.ord]
        LOOP
            outcomes[item.ord] := CASE WHEN item.is_same THEN 2 ELSE 3 END;
            targets[item.ord] := item.image_id;
        END LOOP;
    END IF;

    WITH made AS (
        INSERT INTO darkroom.images (
            tenant_id, id, state, filename, content_type, size, sha256, upload_method, presets, traceparent,
            upload_expires_at, created_at, updated_at, due_at
        )
        SELECT
            i.tenant_id, i.id, 1, i.filename, i.content_type, i.size, i.sha256, i.upload_method,
            string_to_array(i.preset_list, ','), i.traceparent,
            started + make_interval(secs => i.time_to_live), started, started,
            started + make_interval(secs => i.time_to_live) + grace
        FROM unnest(
            tenant_ids, image_ids, filenames, content_types, sizes, sha256s, upload_methods, preset_lists, traceparents,
            times_to_live, outcomes
        ) i (
            tenant_id, id, filename, content_type, size, sha256, upload_method, preset_list, traceparent, time_to_live,
            outcome
        )
        WHERE i.outcome = 0
        ORDER BY i.tenant_id, i.id
        ON CONFLICT (tenant_id, id) DO NOTHING
        RETURNING tenant_id, id
    )
    SELECT array_agg(
        CASE WHEN i.outcome <> 0 THEN i.outcome WHEN made.id IS NULL THEN 2 ELSE 1 END::smallint ORDER BY i.ord
    ) INTO outcomes
    FROM unnest(tenant_ids, image_ids, outcomes) WITH ORDINALITY i (tenant_id, image_id, outcome, ord)
    LEFT JOIN made ON made.tenant_id = i.tenant_id AND made.id = i.image_id AND i.outcome = 0;

    INSERT INTO darkroom.usage_deltas (tenant_id, images, bytes)
    SELECT i.tenant_id, count(*), sum(i.size)
    FROM unnest(tenant_ids, sizes, outcomes) i (tenant_id, size, outcome)
    WHERE i.outcome = 1
    GROUP BY i.tenant_id;

    IF array_remove(tag_objects, NULL) <> '{}' THEN
        INSERT INTO darkroom.tags (tenant_id, image_id, key, value)
        SELECT i.tenant_id, i.image_id, t.key, t.value
        FROM unnest(tenant_ids, image_ids, tag_objects, outcomes) i (tenant_id, image_id, tag_object, outcome)
        CROSS JOIN LATERAL jsonb_each_text(i.tag_object::jsonb) t
        WHERE i.outcome = 1 AND i.tag_object IS NOT NULL
        ORDER BY i.tenant_id, i.image_id, t.key;
    END IF;

    -- A follower gets what its leader got; a leader stands before it in the batch.
    FOR item IN
        SELECT i.ord, i.leader
        FROM unnest(outcomes, leaders) WITH ORDINALITY i (outcome, leader, ord)
        WHERE i.outcome = -1
        ORDER BY i.ord
    LOOP
        targets[item.ord] := targets[item.leader];
        outcomes[item.ord] := CASE
            WHEN outcomes[item.leader] > 3 THEN outcomes[item.leader]
            WHEN request_ids[item.ord] IS NOT NULL
                AND request_sha256s[item.ord] <> request_sha256s[item.leader] THEN 3
            WHEN outcomes[item.leader] = 3 THEN 3
            ELSE 2
        END;
    END LOOP;

    IF 2 = ANY (outcomes) THEN
        FOR item IN
            SELECT i.tenant_id, i.target, started + make_interval(secs => max(i.time_to_live)) AS expires_at
            FROM unnest(tenant_ids, targets, times_to_live, outcomes) i (tenant_id, target, time_to_live, outcome)
            WHERE i.outcome = 2
            GROUP BY i.tenant_id, i.target
            ORDER BY i.tenant_id, i.target
        LOOP
            UPDATE darkroom.images e
            SET upload_expires_at = item.expires_at, due_at = item.expires_at + grace, updated_at = started,
                version = version + 1, revision = revision + 1
            WHERE e.tenant_id = item.tenant_id AND e.id = item.target
                AND e.state = 1 AND e.upload_expires_at < item.expires_at;
        END LOOP;

        RETURN QUERY SELECT outcomes, NULL::integer, NULL::darkroom.image_view;
        RETURN QUERY
        SELECT NULL::smallint[], i.ord::integer, e.image
        FROM unnest(tenant_ids, targets, outcomes) WITH ORDINALITY i (tenant_id, target, outcome, ord)
        CROSS JOIN LATERAL (
            SELECT v AS image FROM darkroom.image_view v WHERE v.tenant_id = i.tenant_id AND v.id = i.target LIMIT 1
        ) e
        WHERE i.outcome = 2;
    ELSE
        RETURN QUERY SELECT outcomes, NULL::integer, NULL::darkroom.image_view;
    END IF;
END
$$;

-- Reads images of any tenants; what is not there, or another tenant's, is not in the answer.
CREATE FUNCTION darkroom.get_images(tenant_ids uuid[], image_ids uuid[])
RETURNS TABLE (ord integer, image darkroom.image_view)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    PERFORM set_config(
        'darkroom.tenants', (SELECT array_agg(DISTINCT t.id) FROM unnest(tenant_ids) t (id))::text, true
    );
    RETURN QUERY
    SELECT i.ord::integer, e.image
    FROM unnest(tenant_ids, image_ids) WITH ORDINALITY i (tenant_id, image_id, ord)
    CROSS JOIN LATERAL (
        SELECT v AS image FROM darkroom.image_view v WHERE v.tenant_id = i.tenant_id AND v.id = i.image_id LIMIT 1
    ) e;
END
$$;

-- Whether an image carries every one of some tags.
CREATE FUNCTION darkroom.has_tags(tenant uuid, image uuid, keys text[], vals text[]) RETURNS boolean
LANGUAGE sql STABLE
RETURN NOT EXISTS (
    SELECT FROM unnest(keys, vals) w (key, value)
    WHERE NOT EXISTS (
        SELECT FROM darkroom.tags t
        WHERE t.tenant_id = tenant AND t.image_id = image AND t.key = w.key AND t.value = w.value
    )
);

-- A tenant's images in some states, newest first, after `before` (null: from the newest). Each state is read through
-- its own range of the index, so that a page costs the same however many images, or tombstones, there are.
CREATE FUNCTION darkroom.list_images(
    tenant uuid, states smallint[], tag_keys text[], tag_values text[], content_sha256 bytea, before uuid, page integer
) RETURNS SETOF darkroom.image_view
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    -- A plain comparison, so that it bounds the index range: `before IS NULL OR …` would read from the newest on.
    bound CONSTANT uuid := coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
BEGIN
    PERFORM set_config('darkroom.tenants', ARRAY[tenant]::text, true);
    IF content_sha256 IS NOT NULL THEN
        RETURN QUERY
        SELECT v.*
        FROM darkroom.image_view v
        WHERE v.tenant_id = tenant AND v.sha256 = content_sha256 AND v.id < bound AND v.state = ANY (states)
            AND (cardinality(tag_keys) = 0 OR darkroom.has_tags(v.tenant_id, v.id, tag_keys, tag_values))
        ORDER BY v.id DESC
        LIMIT page;
    ELSIF cardinality(tag_keys) > 0 THEN
        RETURN QUERY
        SELECT e.*
        FROM darkroom.tags t
        CROSS JOIN LATERAL (
            SELECT v.*
            FROM darkroom.image_view v
            WHERE v.tenant_id = tenant AND v.id = t.image_id AND v.state = ANY (states)
            LIMIT 1
        ) e
        WHERE t.tenant_id = tenant AND t.key = tag_keys[1] AND t.value = tag_values[1] AND t.image_id < bound
            AND (
                cardinality(tag_keys) = 1
                OR darkroom.has_tags(t.tenant_id, t.image_id, tag_keys[2:], tag_values[2:])
            )
        ORDER BY t.image_id DESC
        LIMIT page;
    ELSE
        RETURN QUERY
        SELECT e.*
        FROM (
            SELECT i.id
            FROM unnest(states) s (state)
            CROSS JOIN LATERAL (
                SELECT i.id
                FROM darkroom.images i
                WHERE i.tenant_id = tenant AND i.state = s.state AND i.id < bound
                ORDER BY i.id DESC
                LIMIT page
            ) i
            ORDER BY i.id DESC
            LIMIT page
        ) found
        CROSS JOIN LATERAL (
            SELECT v.* FROM darkroom.image_view v WHERE v.tenant_id = tenant AND v.id = found.id LIMIT 1
        ) e
        ORDER BY found.id DESC;
    END IF;
END
$$;

-- A tenant's READY images by the Hamming distance of their perceptual hashes to that of one of them, nearest first,
-- then newest; after (distance, id) of the page before. Null distance: that image is not there, or has no hash.
CREATE FUNCTION darkroom.list_similar(
    tenant uuid, likeness_of uuid, states smallint[], tag_keys text[], tag_values text[], content_sha256 bytea,
    max_distance integer, after_distance integer, before uuid, page integer
) RETURNS TABLE (distance integer, image darkroom.image_view)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    sought bigint;
BEGIN
    PERFORM set_config('darkroom.tenants', ARRAY[tenant]::text, true);
    SELECT i.perceptual_hash INTO sought FROM darkroom.images i
    WHERE i.tenant_id = tenant AND i.id = likeness_of AND i.state = 3;
    IF sought IS NULL THEN
        RETURN QUERY SELECT NULL::integer, NULL::darkroom.image_view;
        RETURN;
    END IF;
    RETURN QUERY
    WITH near AS MATERIALIZED (
        -- From the index alone.
        SELECT i.id, bit_count((i.perceptual_hash # sought)::bit(64))::integer AS distance
        FROM darkroom.images i
        WHERE i.tenant_id = tenant AND i.state = 3 AND i.perceptual_hash IS NOT NULL
            AND bit_count((i.perceptual_hash # sought)::bit(64)) <= max_distance
    )
    SELECT n.distance, e.image
    FROM near n
    CROSS JOIN LATERAL (
        SELECT v AS image
        FROM darkroom.image_view v
        WHERE v.tenant_id = tenant AND v.id = n.id AND (content_sha256 IS NULL OR v.sha256 = content_sha256)
        LIMIT 1
    ) e
    WHERE n.id <> likeness_of AND 3 = ANY (states)
        AND (after_distance IS NULL OR n.distance > after_distance OR n.distance = after_distance AND n.id < before)
        AND (cardinality(tag_keys) = 0 OR darkroom.has_tags(tenant, n.id, tag_keys, tag_values))
    ORDER BY n.distance, n.id DESC
    LIMIT page;
END
$$;

-- One change that a tenant makes to its image, with all that follows from it: null if the image has changed since it
-- was read as `expected`, else 1. `change` holds the columns that change, `messages` [{id, kind, data}] for the outbox.
CREATE FUNCTION darkroom.change_own_image(
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
    SET (state, version, revision, updated_at, upload_expires_at, deleted_at, receipt, purge_after, due_at) = (
        SELECT
            r.state, r.version, r.revision, r.updated_at, r.upload_expires_at, r.deleted_at, r.receipt, r.purge_after,
            r.due_at
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

-- Grants each tenant a share of its request rate in the current second. A row counts what all gateways wanted; who
-- comes after the limit gets what is left, or nothing. Rows are locked in the order of tenants.
CREATE FUNCTION darkroom.lease_requests(tenant_ids uuid[], wanted integer[])
RETURNS TABLE (tenant_id uuid, granted integer, second bigint)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    this_second CONSTANT bigint := floor(extract(epoch FROM now()));
BEGIN
    PERFORM set_config('darkroom.tenants', tenant_ids::text, true);
    RETURN QUERY
    WITH asked AS (
        INSERT INTO darkroom.request_leases AS l (tenant_id, second, wanted)
        SELECT i.tenant_id, this_second, i.wanted
        FROM unnest(tenant_ids, wanted) i (tenant_id, wanted)
        ORDER BY i.tenant_id
        ON CONFLICT (tenant_id, second) DO UPDATE SET wanted = l.wanted + excluded.wanted
        RETURNING l.tenant_id, l.wanted
    )
    SELECT t.id, greatest(least(i.wanted, t.requests_per_second - asked.wanted + i.wanted), 0)::integer, this_second
    FROM unnest(tenant_ids, wanted) i (tenant_id, wanted)
    JOIN asked ON asked.tenant_id = i.tenant_id
    JOIN darkroom.tenants t ON t.id = i.tenant_id;
END
$$;

-- A tenant's usage, to the last committed change, and its limits.
CREATE FUNCTION darkroom.get_usage(tenant uuid)
RETURNS TABLE (
    images bigint, bytes bigint, max_image_bytes bigint, max_images bigint, max_bytes bigint, requests_per_second integer
)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('darkroom.tenants', ARRAY[tenant]::text, true);
    RETURN QUERY
    SELECT
        t.max_images - r.images, t.max_bytes - r.bytes, t.max_image_bytes, t.max_images, t.max_bytes,
        t.requests_per_second
    FROM darkroom.tenants t
    JOIN darkroom.room_left r ON r.tenant_id = t.id
    WHERE t.id = tenant;
END
$$;
