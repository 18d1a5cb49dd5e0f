-- Tenants, keys, images, tags, usage, request rates and the outbox.
--
-- Every table of tenants' data has row-level security, forced on the owner too. darkroom_app sees the rows of the tenants that
-- `darkroom.tenants` names, which is set for the length of one transaction by the functions of 0002; whatever forgets
-- it gets nothing. darkroom_maintenance works for the queue, the key check and the sweeper, which serve all tenants:
-- it has policies of its own. Nobody has BYPASSRLS.

GRANT USAGE ON SCHEMA darkroom TO darkroom_app, darkroom_maintenance;
GRANT SELECT ON darkroom.migrations TO darkroom_app, darkroom_maintenance;

-- The tenants whose rows the current transaction may see; null, hence none, where nobody set them.
CREATE FUNCTION darkroom.tenants_in_scope() RETURNS uuid[]
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('darkroom.tenants', true), '')::uuid[];

CREATE TABLE darkroom.tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    -- What happens to an original once its image is settled: 'keep', 'keep_days' (original_keep_days) or 'delete'.
    original_policy text NOT NULL DEFAULT 'keep' CHECK (original_policy IN ('keep', 'keep_days', 'delete')),
    original_keep_days integer CHECK (original_keep_days > 0),
    max_image_bytes bigint NOT NULL CHECK (max_image_bytes > 0),
    max_images bigint NOT NULL CHECK (max_images >= 0),
    max_bytes bigint NOT NULL CHECK (max_bytes >= 0),
    requests_per_second integer NOT NULL CHECK (requests_per_second > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((original_policy = 'keep_days') = (original_keep_days IS NOT NULL))
);

CREATE TABLE darkroom.api_keys (
    -- The public part.
    id text PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES darkroom.tenants (id),
    kind smallint NOT NULL CHECK (kind IN (1, 2)), -- Credential.Kind: SECRET, PUBLISHABLE
    scopes text[] NOT NULL DEFAULT '{}',
    -- SHA-256 of the secret part: 256 random bits need no slow hash.
    secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
    -- The same key in API Gateway; null where there is none.
    gateway_key_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CHECK (kind = 1 OR scopes = '{}')
);
CREATE INDEX api_keys_of_tenant ON darkroom.api_keys (tenant_id);

CREATE TABLE darkroom.images (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    state smallint NOT NULL CHECK (state BETWEEN 1 AND 7), -- Image.State: AWAITING_UPLOAD … DELETED
    -- `version` counts writes, so that none is lost; `revision` those that the tenant can see: the etag is made of it.
    version bigint NOT NULL DEFAULT 1,
    revision bigint NOT NULL DEFAULT 1,
    filename text NOT NULL,
    content_type text NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    sha256 bytea CHECK (octet_length(sha256) = 32),
    upload_method smallint NOT NULL CHECK (upload_method IN (1, 2)), -- UploadMethod: PUT, MULTIPART
    presets text[] NOT NULL DEFAULT '{}',
    traceparent text NOT NULL DEFAULT '',
    upload_expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ready_at timestamptz,
    -- The attempt's number is the fencing token; it only grows. `counted` is how many of them count.
    attempt bigint NOT NULL DEFAULT 0,
    counted smallint NOT NULL DEFAULT 0 CHECK (counted >= 0),
    running boolean NOT NULL DEFAULT false,
    -- End of the running attempt's lease, or of the wait before the next one.
    held_until timestamptz,
    -- What the decoder saw, once READY.
    format text,
    width integer,
    height integer,
    frames integer,
    thumbhash bytea,
    color text,
    perceptual_hash bigint,
    -- [{name, key, content_type, width, height, size}]: always read and written as a whole, with the image.
    variants jsonb,
    problem_type text,
    problem_title text,
    problem_detail text,
    original_removed_at timestamptz,
    deleted_at timestamptz,
    receipt uuid,
    -- Until when objects of a deleted image can still come into being: the purge after that is the last.
    purge_after timestamptz,
    purged_at timestamptz,
    -- When the sweeper shall look at the row; null where nothing is due.
    due_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    CHECK ((state = 3) = (ready_at IS NOT NULL) OR state = 7),
    CHECK ((state = 7) = (deleted_at IS NOT NULL)),
    CHECK (NOT running OR held_until IS NOT NULL)
) WITH (fillfactor = 85);

-- One list of everything that is due, whatever the reason; most rows are not in it.
CREATE INDEX images_due ON darkroom.images (due_at) WHERE due_at IS NOT NULL;
-- Lists, newest first: an image's id begins with its time.
CREATE INDEX images_by_state ON darkroom.images (tenant_id, state, id DESC);
CREATE INDEX images_by_content ON darkroom.images (tenant_id, sha256, id DESC) WHERE sha256 IS NOT NULL;
-- What a search by likeness reads through: 24 bytes an image, without touching the table.
CREATE INDEX images_by_likeness ON darkroom.images (tenant_id, id) INCLUDE (perceptual_hash)
    WHERE state = 3 AND perceptual_hash IS NOT NULL;

CREATE TABLE darkroom.tags (
    tenant_id uuid NOT NULL,
    image_id uuid NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (tenant_id, image_id, key)
);
-- A btree over plain columns: `@>` on jsonb is not leakproof, so row-level security would keep it from its index.
CREATE INDEX tags_by_value ON darkroom.tags (tenant_id, key, value, image_id DESC);

-- Idempotency keys. No foreign key here or above: each would lock its parent's row on the hot path.
CREATE TABLE darkroom.requests (
    tenant_id uuid NOT NULL,
    request_id text NOT NULL,
    image_id uuid NOT NULL,
    request_sha256 bytea NOT NULL CHECK (octet_length(request_sha256) = 32),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, request_id)
);
CREATE INDEX requests_by_age ON darkroom.requests (created_at);

-- Usage is appended here and folded into `usage` later, so that no row is hot. Neither key nor sequence: a row has no name.
CREATE TABLE darkroom.usage_deltas (
    tenant_id uuid NOT NULL,
    images bigint NOT NULL,
    bytes bigint NOT NULL
);
CREATE INDEX usage_deltas_of_tenant ON darkroom.usage_deltas (tenant_id);

CREATE TABLE darkroom.usage (
    tenant_id uuid PRIMARY KEY,
    images bigint NOT NULL,
    bytes bigint NOT NULL
) WITH (fillfactor = 50);

-- Request rate by tenant and second. Unlogged: after a failover a second's count may be lost, and nothing else.
CREATE UNLOGGED TABLE darkroom.request_leases (
    tenant_id uuid NOT NULL,
    second bigint NOT NULL, -- since 1970
    wanted bigint NOT NULL, -- by all gateways together; what goes beyond the limit was refused
    PRIMARY KEY (tenant_id, second)
) WITH (fillfactor = 50);

-- What is to be told to the queue ('darkroom.process/1', …) or to the world ('image.ready', …), written in the
-- statement that makes it true and sent by the relay, at least once.
CREATE TABLE darkroom.outbox (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    tenant_id uuid NOT NULL,
    image_id uuid NOT NULL,
    data jsonb, -- of an event
    traceparent text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    -- When the relay shall send it; a relay that takes it moves this into the future.
    next_at timestamptz NOT NULL
);
CREATE INDEX outbox_next ON darkroom.outbox (next_at);
CREATE INDEX outbox_of_image ON darkroom.outbox (tenant_id, image_id, created_at);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenants', 'api_keys', 'images', 'tags', 'requests', 'usage_deltas', 'usage', 'request_leases', 'outbox'
    ] LOOP
        EXECUTE format('ALTER TABLE darkroom.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE darkroom.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY maintenance ON darkroom.%I TO darkroom_maintenance USING (true) WITH CHECK (true)', name
        );
        CONTINUE WHEN name = 'api_keys'; -- the request path has no business there
        -- In a subquery the scope is computed once a statement, not once a row.
        EXECUTE format(
            'CREATE POLICY app ON darkroom.%I TO darkroom_app
                USING (%2$I = ANY ((SELECT darkroom.tenants_in_scope())::uuid[]))
                WITH CHECK (%2$I = ANY ((SELECT darkroom.tenants_in_scope())::uuid[]))',
            name, CASE name WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END
        );
    END LOOP;
END
$$;

-- The request path. It cannot read key hashes, change facts, finish an attempt or remove a row of an image.
GRANT SELECT ON darkroom.tenants, darkroom.usage TO darkroom_app;
GRANT SELECT, INSERT ON darkroom.images TO darkroom_app;
GRANT UPDATE (state, version, revision, updated_at, upload_expires_at, deleted_at, receipt, purge_after, due_at)
    ON darkroom.images TO darkroom_app;
GRANT SELECT, INSERT, DELETE ON darkroom.tags TO darkroom_app;
GRANT SELECT, INSERT, UPDATE ON darkroom.requests, darkroom.request_leases TO darkroom_app;
GRANT SELECT, INSERT ON darkroom.usage_deltas TO darkroom_app;
GRANT INSERT ON darkroom.outbox TO darkroom_app;

-- Workers, the key check, the sweeper, the relay, the admin command. It registers no image.
GRANT SELECT, INSERT ON darkroom.tenants TO darkroom_maintenance;
GRANT SELECT, INSERT ON darkroom.api_keys TO darkroom_maintenance;
GRANT UPDATE (revoked_at, gateway_key_id) ON darkroom.api_keys TO darkroom_maintenance;
GRANT SELECT, UPDATE, DELETE ON darkroom.images TO darkroom_maintenance;
GRANT SELECT, DELETE ON darkroom.tags, darkroom.requests, darkroom.request_leases TO darkroom_maintenance;
GRANT SELECT, INSERT, UPDATE ON darkroom.usage TO darkroom_maintenance;
GRANT SELECT, INSERT, UPDATE, DELETE ON darkroom.usage_deltas, darkroom.outbox TO darkroom_maintenance;
