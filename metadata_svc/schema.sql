-- Generated from the migrations by `python -m tests.support.schema`; a test compares the two.

CREATE SCHEMA darkroom;

ALTER SCHEMA darkroom OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.change_own_image(tenant uuid, image uuid, expected bigint, change jsonb, new_tags jsonb, messages jsonb, images_delta bigint, bytes_delta bigint) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
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

ALTER FUNCTION darkroom.change_own_image(tenant uuid, image uuid, expected bigint, change jsonb, new_tags jsonb, messages jsonb, images_delta bigint, bytes_delta bigint) OWNER TO darkroom_owner;

CREATE TABLE darkroom.images (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    state smallint NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    revision bigint DEFAULT 1 NOT NULL,
    filename text NOT NULL,
    content_type text NOT NULL,
    size bigint NOT NULL,
    sha256 bytea,
    upload_method smallint NOT NULL,
    presets text[] DEFAULT '{}'::text[] NOT NULL,
    traceparent text DEFAULT ''::text NOT NULL,
    upload_expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    ready_at timestamp with time zone,
    attempt bigint DEFAULT 0 NOT NULL,
    counted smallint DEFAULT 0 NOT NULL,
    running boolean DEFAULT false NOT NULL,
    held_until timestamp with time zone,
    format text,
    width integer,
    height integer,
    frames integer,
    thumbhash bytea,
    color text,
    perceptual_hash bigint,
    variants jsonb,
    problem_type text,
    problem_title text,
    problem_detail text,
    original_removed_at timestamp with time zone,
    deleted_at timestamp with time zone,
    receipt uuid,
    purge_after timestamp with time zone,
    purged_at timestamp with time zone,
    due_at timestamp with time zone,
    render_until timestamp with time zone,
    ordered_at timestamp with time zone,
    CONSTRAINT images_check CHECK ((((state = 3) = (ready_at IS NOT NULL)) OR (state = 7))),
    CONSTRAINT images_check1 CHECK (((state = 7) = (deleted_at IS NOT NULL))),
    CONSTRAINT images_check2 CHECK (((NOT running) OR (held_until IS NOT NULL))),
    CONSTRAINT images_counted_check CHECK ((counted >= 0)),
    CONSTRAINT images_sha256_check CHECK ((octet_length(sha256) = 32)),
    CONSTRAINT images_size_check CHECK ((size >= 0)),
    CONSTRAINT images_state_check CHECK (((state >= 1) AND (state <= 7))),
    CONSTRAINT images_upload_method_check CHECK ((upload_method = ANY (ARRAY[1, 2])))
)
WITH (fillfactor='85');

ALTER TABLE ONLY darkroom.images FORCE ROW LEVEL SECURITY;

ALTER TABLE darkroom.images OWNER TO darkroom_owner;

CREATE TABLE darkroom.tags (
    tenant_id uuid NOT NULL,
    image_id uuid NOT NULL,
    key text NOT NULL,
    value text NOT NULL
);

ALTER TABLE ONLY darkroom.tags FORCE ROW LEVEL SECURITY;

ALTER TABLE darkroom.tags OWNER TO darkroom_owner;

CREATE VIEW darkroom.image_view WITH (security_invoker='true') AS
 SELECT tenant_id,
    id,
    state,
    version,
    revision,
    filename,
    content_type,
    size,
    sha256,
    upload_method,
    presets,
    traceparent,
    upload_expires_at,
    created_at,
    updated_at,
    ready_at,
    attempt,
    counted,
    running,
    held_until,
    format,
    width,
    height,
    frames,
    thumbhash,
    color,
    perceptual_hash,
    variants,
    problem_type,
    problem_title,
    problem_detail,
    original_removed_at,
    deleted_at,
    receipt,
    purge_after,
    purged_at,
    due_at,
    ( SELECT jsonb_object_agg(t.key, t.value) AS jsonb_object_agg
           FROM darkroom.tags t
          WHERE ((t.tenant_id = i.tenant_id) AND (t.image_id = i.id))) AS tags,
    render_until,
    ordered_at
   FROM darkroom.images i;

ALTER VIEW darkroom.image_view OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.create_images(tenant_ids uuid[], image_ids uuid[], request_ids text[], request_sha256s bytea[], filenames text[], content_types text[], sizes bigint[], sha256s bytea[], upload_methods smallint[], preset_lists text[], tag_objects text[], times_to_live double precision[], traceparents text[], request_life interval, grace interval) RETURNS TABLE(outcomes smallint[], ord integer, image darkroom.image_view)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
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

ALTER FUNCTION darkroom.create_images(tenant_ids uuid[], image_ids uuid[], request_ids text[], request_sha256s bytea[], filenames text[], content_types text[], sizes bigint[], sha256s bytea[], upload_methods smallint[], preset_lists text[], tag_objects text[], times_to_live double precision[], traceparents text[], request_life interval, grace interval) OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.get_images(tenant_ids uuid[], image_ids uuid[]) RETURNS TABLE(ord integer, image darkroom.image_view)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
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

ALTER FUNCTION darkroom.get_images(tenant_ids uuid[], image_ids uuid[]) OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.get_usage(tenant uuid) RETURNS TABLE(images bigint, bytes bigint, max_image_bytes bigint, max_images bigint, max_bytes bigint, requests_per_second integer)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
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

ALTER FUNCTION darkroom.get_usage(tenant uuid) OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.has_tags(tenant uuid, image uuid, keys text[], vals text[]) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN (NOT (EXISTS (SELECT FROM UNNEST(has_tags.keys, has_tags.vals) w(key, value) WHERE (NOT (EXISTS (SELECT FROM darkroom.tags t WHERE ((t.tenant_id = has_tags.tenant) AND (t.image_id = has_tags.image) AND (t.key = w.key) AND (t.value = w.value))))))));

ALTER FUNCTION darkroom.has_tags(tenant uuid, image uuid, keys text[], vals text[]) OWNER TO darkroom_owner;

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

ALTER FUNCTION darkroom.keep_likeness() OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.lease_requests(tenant_ids uuid[], wanted integer[]) RETURNS TABLE(tenant_id uuid, granted integer, second bigint)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
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

ALTER FUNCTION darkroom.lease_requests(tenant_ids uuid[], wanted integer[]) OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.likeness_flips(most integer) RETURNS SETOF integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT 0
   WHERE (likeness_flips.most >= 0)
 UNION ALL
  SELECT (1 << a.a)
    FROM generate_series(0, 15) a(a)
   WHERE (likeness_flips.most >= 1)
 UNION ALL
  SELECT ((1 << a.a) | (1 << b.b))
    FROM generate_series(0, 15) a(a),
     generate_series(0, 15) b(b)
   WHERE ((likeness_flips.most >= 2) AND (a.a < b.b))
 UNION ALL
  SELECT (((1 << a.a) | (1 << b.b)) | (1 << c.c))
    FROM generate_series(0, 15) a(a),
     generate_series(0, 15) b(b),
     generate_series(0, 15) c(c)
   WHERE ((likeness_flips.most >= 3) AND (a.a < b.b) AND (b.b < c.c));
END;

ALTER FUNCTION darkroom.likeness_flips(most integer) OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.likeness_probes(hash bigint, distance integer) RETURNS integer[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET plan_cache_mode TO 'force_generic_plan'
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

ALTER FUNCTION darkroom.likeness_probes(hash bigint, distance integer) OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.likeness_slots(hash bigint) RETURNS integer[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[(((hash >> 48) & (65535)::bigint))::integer, ((1 << 16) | (((hash >> 32) & (65535)::bigint))::integer), ((2 << 16) | (((hash >> 16) & (65535)::bigint))::integer), ((3 << 16) | ((hash & (65535)::bigint))::integer)];

ALTER FUNCTION darkroom.likeness_slots(hash bigint) OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.list_images(tenant uuid, states smallint[], tag_keys text[], tag_values text[], content_sha256 bytea, before uuid, page integer) RETURNS SETOF darkroom.image_view
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
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

ALTER FUNCTION darkroom.list_images(tenant uuid, states smallint[], tag_keys text[], tag_values text[], content_sha256 bytea, before uuid, page integer) OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.list_similar(tenant uuid, likeness_of uuid, states smallint[], tag_keys text[], tag_values text[], content_sha256 bytea, max_distance integer, after_distance integer, before uuid, page integer) RETURNS TABLE(distance integer, image darkroom.image_view)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
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

ALTER FUNCTION darkroom.list_similar(tenant uuid, likeness_of uuid, states smallint[], tag_keys text[], tag_values text[], content_sha256 bytea, max_distance integer, after_distance integer, before uuid, page integer) OWNER TO darkroom_owner;

CREATE FUNCTION darkroom.tenants_in_scope() RETURNS uuid[]
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (NULLIF(current_setting('darkroom.tenants'::text, true), ''::text))::uuid[];

ALTER FUNCTION darkroom.tenants_in_scope() OWNER TO darkroom_owner;

CREATE TABLE darkroom.api_keys (
    id text NOT NULL,
    tenant_id uuid NOT NULL,
    kind smallint NOT NULL,
    scopes text[] DEFAULT '{}'::text[] NOT NULL,
    secret_sha256 bytea NOT NULL,
    gateway_key_id text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_check CHECK (((kind = 1) OR (scopes = '{}'::text[]))),
    CONSTRAINT api_keys_kind_check CHECK ((kind = ANY (ARRAY[1, 2]))),
    CONSTRAINT api_keys_secret_sha256_check CHECK ((octet_length(secret_sha256) = 32))
);

ALTER TABLE ONLY darkroom.api_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE darkroom.api_keys OWNER TO darkroom_owner;

CREATE TABLE darkroom.likeness (
    tenant_id uuid NOT NULL,
    slot integer NOT NULL,
    image_id uuid NOT NULL,
    perceptual_hash bigint NOT NULL
);

ALTER TABLE ONLY darkroom.likeness FORCE ROW LEVEL SECURITY;

ALTER TABLE darkroom.likeness OWNER TO darkroom_owner;

CREATE TABLE darkroom.migrations (
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE darkroom.migrations OWNER TO darkroom_owner;

CREATE TABLE darkroom.outbox (
    id uuid NOT NULL,
    kind text NOT NULL,
    tenant_id uuid NOT NULL,
    image_id uuid NOT NULL,
    data jsonb,
    traceparent text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY darkroom.outbox FORCE ROW LEVEL SECURITY;

ALTER TABLE darkroom.outbox OWNER TO darkroom_owner;

CREATE UNLOGGED TABLE darkroom.request_leases (
    tenant_id uuid NOT NULL,
    second bigint NOT NULL,
    wanted bigint NOT NULL
)
WITH (fillfactor='50');

ALTER TABLE ONLY darkroom.request_leases FORCE ROW LEVEL SECURITY;

ALTER TABLE darkroom.request_leases OWNER TO darkroom_owner;

CREATE TABLE darkroom.requests (
    tenant_id uuid NOT NULL,
    request_id text NOT NULL,
    image_id uuid NOT NULL,
    request_sha256 bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT requests_request_sha256_check CHECK ((octet_length(request_sha256) = 32))
);

ALTER TABLE ONLY darkroom.requests FORCE ROW LEVEL SECURITY;

ALTER TABLE darkroom.requests OWNER TO darkroom_owner;

CREATE TABLE darkroom.tenants (
    id uuid NOT NULL,
    name text NOT NULL,
    original_policy text DEFAULT 'keep'::text NOT NULL,
    original_keep_days integer,
    max_image_bytes bigint NOT NULL,
    max_images bigint NOT NULL,
    max_bytes bigint NOT NULL,
    requests_per_second integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenants_check CHECK (((original_policy = 'keep_days'::text) = (original_keep_days IS NOT NULL))),
    CONSTRAINT tenants_max_bytes_check CHECK ((max_bytes >= 0)),
    CONSTRAINT tenants_max_image_bytes_check CHECK ((max_image_bytes > 0)),
    CONSTRAINT tenants_max_images_check CHECK ((max_images >= 0)),
    CONSTRAINT tenants_original_keep_days_check CHECK ((original_keep_days > 0)),
    CONSTRAINT tenants_original_policy_check CHECK ((original_policy = ANY (ARRAY['keep'::text, 'keep_days'::text, 'delete'::text]))),
    CONSTRAINT tenants_requests_per_second_check CHECK ((requests_per_second > 0))
);

ALTER TABLE ONLY darkroom.tenants FORCE ROW LEVEL SECURITY;

ALTER TABLE darkroom.tenants OWNER TO darkroom_owner;

CREATE TABLE darkroom.usage (
    tenant_id uuid NOT NULL,
    images bigint NOT NULL,
    bytes bigint NOT NULL
)
WITH (fillfactor='50');

ALTER TABLE ONLY darkroom.usage FORCE ROW LEVEL SECURITY;

ALTER TABLE darkroom.usage OWNER TO darkroom_owner;

CREATE TABLE darkroom.usage_deltas (
    tenant_id uuid NOT NULL,
    images bigint NOT NULL,
    bytes bigint NOT NULL
);

ALTER TABLE ONLY darkroom.usage_deltas FORCE ROW LEVEL SECURITY;

ALTER TABLE darkroom.usage_deltas OWNER TO darkroom_owner;

CREATE VIEW darkroom.room_left WITH (security_invoker='true') AS
 SELECT t.id AS tenant_id,
    ((t.max_images - COALESCE(u.images, (0)::bigint)) - COALESCE(d.images, (0)::bigint)) AS images,
    ((t.max_bytes - COALESCE(u.bytes, (0)::bigint)) - COALESCE(d.bytes, (0)::bigint)) AS bytes
   FROM ((darkroom.tenants t
     LEFT JOIN LATERAL ( SELECT u_1.images,
            u_1.bytes
           FROM darkroom.usage u_1
          WHERE (u_1.tenant_id = t.id)
         LIMIT 1) u ON (true))
     CROSS JOIN LATERAL ( SELECT (sum(d_1.images))::bigint AS images,
            (sum(d_1.bytes))::bigint AS bytes
           FROM darkroom.usage_deltas d_1
          WHERE (d_1.tenant_id = t.id)) d);

ALTER VIEW darkroom.room_left OWNER TO darkroom_owner;

ALTER TABLE ONLY darkroom.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY darkroom.images
    ADD CONSTRAINT images_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY darkroom.likeness
    ADD CONSTRAINT likeness_pkey PRIMARY KEY (tenant_id, slot, image_id) INCLUDE (perceptual_hash);

ALTER TABLE ONLY darkroom.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (number);

ALTER TABLE ONLY darkroom.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY darkroom.request_leases
    ADD CONSTRAINT request_leases_pkey PRIMARY KEY (tenant_id, second);

ALTER TABLE ONLY darkroom.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (tenant_id, request_id);

ALTER TABLE ONLY darkroom.tags
    ADD CONSTRAINT tags_pkey PRIMARY KEY (tenant_id, image_id, key);

ALTER TABLE ONLY darkroom.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (id);

ALTER TABLE ONLY darkroom.usage
    ADD CONSTRAINT usage_pkey PRIMARY KEY (tenant_id);

CREATE INDEX api_keys_of_tenant ON darkroom.api_keys USING btree (tenant_id);

CREATE INDEX images_by_content ON darkroom.images USING btree (tenant_id, sha256, id DESC) WHERE (sha256 IS NOT NULL);

CREATE INDEX images_by_state ON darkroom.images USING btree (tenant_id, state, id DESC);

CREATE INDEX images_due ON darkroom.images USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX outbox_next ON darkroom.outbox USING btree (next_at);

CREATE INDEX outbox_of_image ON darkroom.outbox USING btree (tenant_id, image_id, created_at);

CREATE INDEX requests_by_age ON darkroom.requests USING btree (created_at);

CREATE INDEX tags_by_value ON darkroom.tags USING btree (tenant_id, key, value, image_id DESC);

CREATE INDEX usage_deltas_of_tenant ON darkroom.usage_deltas USING btree (tenant_id);

CREATE TRIGGER likeness_changed AFTER UPDATE ON darkroom.images FOR EACH ROW WHEN (((old.perceptual_hash IS DISTINCT FROM new.perceptual_hash) OR ((new.perceptual_hash IS NOT NULL) AND ((old.state = 7) <> (new.state = 7))))) EXECUTE FUNCTION darkroom.keep_likeness();

CREATE TRIGGER likeness_made AFTER INSERT ON darkroom.images FOR EACH ROW WHEN ((new.perceptual_hash IS NOT NULL)) EXECUTE FUNCTION darkroom.keep_likeness();

ALTER TABLE ONLY darkroom.api_keys
    ADD CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES darkroom.tenants(id);

ALTER TABLE darkroom.api_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY app ON darkroom.images TO darkroom_app USING ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[]))) WITH CHECK ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[])));

CREATE POLICY app ON darkroom.likeness TO darkroom_app USING ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[]))) WITH CHECK ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[])));

CREATE POLICY app ON darkroom.outbox TO darkroom_app USING ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[]))) WITH CHECK ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[])));

CREATE POLICY app ON darkroom.request_leases TO darkroom_app USING ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[]))) WITH CHECK ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[])));

CREATE POLICY app ON darkroom.requests TO darkroom_app USING ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[]))) WITH CHECK ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[])));

CREATE POLICY app ON darkroom.tags TO darkroom_app USING ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[]))) WITH CHECK ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[])));

CREATE POLICY app ON darkroom.tenants TO darkroom_app USING ((id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[]))) WITH CHECK ((id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[])));

CREATE POLICY app ON darkroom.usage TO darkroom_app USING ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[]))) WITH CHECK ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[])));

CREATE POLICY app ON darkroom.usage_deltas TO darkroom_app USING ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[]))) WITH CHECK ((tenant_id = ANY (( SELECT darkroom.tenants_in_scope() AS tenants_in_scope)::uuid[])));

ALTER TABLE darkroom.images ENABLE ROW LEVEL SECURITY;

ALTER TABLE darkroom.likeness ENABLE ROW LEVEL SECURITY;

CREATE POLICY maintenance ON darkroom.api_keys TO darkroom_maintenance USING (true) WITH CHECK (true);

CREATE POLICY maintenance ON darkroom.images TO darkroom_maintenance USING (true) WITH CHECK (true);

CREATE POLICY maintenance ON darkroom.likeness TO darkroom_maintenance USING (true) WITH CHECK (true);

CREATE POLICY maintenance ON darkroom.outbox TO darkroom_maintenance USING (true) WITH CHECK (true);

CREATE POLICY maintenance ON darkroom.request_leases TO darkroom_maintenance USING (true) WITH CHECK (true);

CREATE POLICY maintenance ON darkroom.requests TO darkroom_maintenance USING (true) WITH CHECK (true);

CREATE POLICY maintenance ON darkroom.tags TO darkroom_maintenance USING (true) WITH CHECK (true);

CREATE POLICY maintenance ON darkroom.tenants TO darkroom_maintenance USING (true) WITH CHECK (true);

CREATE POLICY maintenance ON darkroom.usage TO darkroom_maintenance USING (true) WITH CHECK (true);

CREATE POLICY maintenance ON darkroom.usage_deltas TO darkroom_maintenance USING (true) WITH CHECK (true);

ALTER TABLE darkroom.outbox ENABLE ROW LEVEL SECURITY;

ALTER TABLE darkroom.request_leases ENABLE ROW LEVEL SECURITY;

ALTER TABLE darkroom.requests ENABLE ROW LEVEL SECURITY;

ALTER TABLE darkroom.tags ENABLE ROW LEVEL SECURITY;

ALTER TABLE darkroom.tenants ENABLE ROW LEVEL SECURITY;

ALTER TABLE darkroom.usage ENABLE ROW LEVEL SECURITY;

ALTER TABLE darkroom.usage_deltas ENABLE ROW LEVEL SECURITY;

GRANT USAGE ON SCHEMA darkroom TO darkroom_app;
GRANT USAGE ON SCHEMA darkroom TO darkroom_maintenance;

GRANT SELECT,INSERT ON TABLE darkroom.images TO darkroom_app;
GRANT SELECT,DELETE,UPDATE ON TABLE darkroom.images TO darkroom_maintenance;

GRANT UPDATE(state) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(version) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(revision) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(upload_expires_at) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(updated_at) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(ready_at) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(counted) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(problem_type) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(problem_title) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(problem_detail) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(deleted_at) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(receipt) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(purge_after) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(due_at) ON TABLE darkroom.images TO darkroom_app;

GRANT UPDATE(ordered_at) ON TABLE darkroom.images TO darkroom_app;

GRANT SELECT,INSERT,DELETE ON TABLE darkroom.tags TO darkroom_app;
GRANT SELECT,DELETE ON TABLE darkroom.tags TO darkroom_maintenance;

GRANT SELECT ON TABLE darkroom.image_view TO darkroom_app;
GRANT SELECT ON TABLE darkroom.image_view TO darkroom_maintenance;

GRANT SELECT,INSERT ON TABLE darkroom.api_keys TO darkroom_maintenance;

GRANT UPDATE(gateway_key_id) ON TABLE darkroom.api_keys TO darkroom_maintenance;

GRANT UPDATE(revoked_at) ON TABLE darkroom.api_keys TO darkroom_maintenance;

GRANT SELECT,DELETE ON TABLE darkroom.likeness TO darkroom_app;
GRANT SELECT,INSERT,DELETE ON TABLE darkroom.likeness TO darkroom_maintenance;

GRANT SELECT ON TABLE darkroom.migrations TO darkroom_app;
GRANT SELECT ON TABLE darkroom.migrations TO darkroom_maintenance;

GRANT INSERT ON TABLE darkroom.outbox TO darkroom_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE darkroom.outbox TO darkroom_maintenance;

GRANT SELECT,INSERT,UPDATE ON TABLE darkroom.request_leases TO darkroom_app;
GRANT SELECT,DELETE ON TABLE darkroom.request_leases TO darkroom_maintenance;

GRANT SELECT,INSERT,UPDATE ON TABLE darkroom.requests TO darkroom_app;
GRANT SELECT,DELETE ON TABLE darkroom.requests TO darkroom_maintenance;

GRANT SELECT ON TABLE darkroom.tenants TO darkroom_app;
GRANT SELECT,INSERT ON TABLE darkroom.tenants TO darkroom_maintenance;

GRANT SELECT ON TABLE darkroom.usage TO darkroom_app;
GRANT SELECT,INSERT,UPDATE ON TABLE darkroom.usage TO darkroom_maintenance;

GRANT SELECT,INSERT ON TABLE darkroom.usage_deltas TO darkroom_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE darkroom.usage_deltas TO darkroom_maintenance;

GRANT SELECT ON TABLE darkroom.room_left TO darkroom_app;
