-- name: lock_pool
-- Held until the connection closes: merges of one store run one after another.
SELECT pg_advisory_lock(hashtext('fba.global_inventory_pool'), hashtext(%(store)s))

-- name: newer_applied
SELECT count(*) FROM fba.report AS newer
JOIN fba.report AS ours ON ours.store = newer.store AND ours.report_type = newer.report_type
WHERE ours.store = %(store)s AND ours.report_id = ANY(%(report_ids)s)
  AND newer.applied_at IS NOT NULL AND newer.requested_at > ours.requested_at

-- name: read_pool
-- Columns as text, many rows in one: a SKU holds no newline, and a million small rows would take ten times as long.
SELECT string_agg(sku, E'\n'), string_agg(fba_quantity::text, E'\n'), string_agg(fbm_quantity::text, E'\n'),
       string_agg(quantity::text, E'\n'), string_agg(quantity_source, E'\n'),
       string_agg(coalesce(fulfillment_channel, ''), E'\n')
FROM (SELECT *, row_number() OVER () / 50000 AS block FROM fba.global_inventory_pool WHERE store = %(store)s) AS pool
GROUP BY block

-- name: create_staging
CREATE TEMPORARY TABLE merged (
    sku text NOT NULL, fba_quantity bigint NOT NULL, fbm_quantity bigint NOT NULL, quantity bigint NOT NULL,
    quantity_source text NOT NULL, listing_line bigint
) ON COMMIT DROP

-- name: fill_staging
COPY merged (sku, fba_quantity, fbm_quantity, quantity, quantity_source, listing_line) FROM STDIN

-- name: analyze_staging
ANALYZE merged

-- name: merge_pool
-- Only rows in which a value changed are written. A SKU without a listings row keeps its title and the like.
MERGE INTO fba.global_inventory_pool AS p
USING (
    SELECT merged.*, {listed_values}
    FROM merged LEFT JOIN fba.amazon_all_listings_report AS l
        ON l.store = {store} AND l.line_number = merged.listing_line
) AS m
ON p.store = {store} AND p.sku = m.sku
WHEN MATCHED AND (
    (p.fba_quantity, p.fbm_quantity, p.quantity, p.quantity_source)
        IS DISTINCT FROM (m.fba_quantity, m.fbm_quantity, m.quantity, m.quantity_source)
    OR m.listing_line IS NOT NULL AND ({pool_columns}) IS DISTINCT FROM ({merged_columns})
) THEN UPDATE SET
    fba_quantity = m.fba_quantity, fbm_quantity = m.fbm_quantity, quantity = m.quantity,
    quantity_source = m.quantity_source, afn_report_id = {afn_report_id}, listings_report_id = {listings_report_id},
    updated_at = clock_timestamp(), {assignments}
WHEN NOT MATCHED THEN
    INSERT (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source, afn_report_id, listings_report_id, {columns})
    VALUES ({store}, m.sku, m.fba_quantity, m.fbm_quantity, m.quantity, m.quantity_source, {afn_report_id},
            {listings_report_id}, {merged_columns})
