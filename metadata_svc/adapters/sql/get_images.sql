-- Reads a batch, each item as its own tenant sees it. $1 tenants, $2 images
SELECT g.ord, (g.image).* FROM darkroom.get_images($1::uuid[], $2::uuid[]) g
