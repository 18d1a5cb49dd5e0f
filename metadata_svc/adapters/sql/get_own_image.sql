-- As get_image, for the tenant that asks. $1 tenant, $2 image
SELECT now() AS now, NULL AS original_policy, NULL AS original_keep_days, (g.image).*
FROM (SELECT) one
LEFT JOIN darkroom.get_images(ARRAY[$1::uuid], ARRAY[$2::uuid]) g ON true
