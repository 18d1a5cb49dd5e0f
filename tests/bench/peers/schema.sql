-- What the peer needs for the guarantees that Darkroom gives: hashed keys, a quota, idempotency, row-level security.
-- The quota is a counter that each request updates, as such services have it.
CREATE TABLE tenants (id uuid PRIMARY KEY, max_images bigint NOT NULL, max_bytes bigint NOT NULL);
CREATE TABLE api_keys (
    id text PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    secret_sha256 bytea NOT NULL,
    scopes text[] NOT NULL,
    revoked_at timestamptz
);
CREATE TABLE usage (tenant_id uuid PRIMARY KEY, images bigint NOT NULL, bytes bigint NOT NULL);
CREATE TABLE images (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    state text NOT NULL,
    filename text NOT NULL,
    content_type text NOT NULL,
    size bigint NOT NULL,
    sha256 bytea,
    presets text[] NOT NULL,
    tags jsonb NOT NULL,
    upload_expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE TABLE requests (
    tenant_id uuid NOT NULL,
    request_id text NOT NULL,
    image_id uuid NOT NULL,
    request_sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, request_id)
);

CREATE FUNCTION tenant_in_scope() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('peer.tenant', true), '')::uuid;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['usage', 'images', 'requests'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY own ON %I USING (tenant_id = (SELECT tenant_in_scope()))
                WITH CHECK (tenant_id = (SELECT tenant_in_scope()))', name
        );
    END LOOP;
END
$$;
