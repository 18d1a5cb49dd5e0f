-- The three roles, and what they need before the first migration. Run by a user that may create roles (on Aurora the
-- master user); harmless to repeat. Passwords are set by the runner, never by a file.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['darkroom_owner', 'darkroom_app', 'darkroom_maintenance'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOINHERIT', name);
        END IF;
    END LOOP;
    IF NOT pg_has_role(current_user, 'darkroom_owner', 'MEMBER') THEN
        EXECUTE format('GRANT darkroom_owner TO %I', current_user);
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO darkroom_owner', current_database());
END
$$;
