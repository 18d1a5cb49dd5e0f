-- Reads a batch, each item as its own tenant sees it: what a client is shown, and no more. $1 tenants, $2 images
SELECT
    g.ord,
    (g.image).tenant_id, (g.image).id, (g.image).state, (g.image).revision, (g.image).filename,
    (g.image).content_type, (g.image).size, (g.image).sha256, (g.image).upload_method, (g.image).presets,
    (g.image).upload_expires_at, (g.image).created_at, (g.image).updated_at, (g.image).ready_at, (g.image).format,
    (g.image).width, (g.image).height, (g.image).frames, (g.image).thumbhash, (g.image).color,
    (g.image).perceptual_hash, (g.image).variants, (g.image).problem_type, (g.image).problem_title,
    (g.image).problem_detail, (g.image).original_removed_at, (g.image).tags
FROM darkroom.get_images($1::uuid[], $2::uuid[]) g
