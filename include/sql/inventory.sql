-- name: newer_applied
-- A report with a time that is still to come, from a clock that was ahead, stops none that has an age, and is stopped by any.
SELECT count(*) FROM fba.report AS newer
JOIN fba.report AS ours ON ours.store = newer.store AND ours.report_type = newer.report_type
WHERE ours.store = %(store)s AND ours.report_id = ANY(%(report_ids)s)
  AND newer.applied_at IS NOT NULL AND newer.requested_at <= clock_timestamp()
  AND (newer.requested_at > ours.requested_at OR ours.requested_at > clock_timestamp())

-- name: asked_at
-- When two reports were asked for.
SELECT min(requested_at) AS asked_at, max(requested_at) AS newest_at FROM fba.report WHERE store = %(store)s AND report_id = ANY(%(report_ids)s)

-- name: read_pool
-- Many rows in one: a SKU holds no newline, and a million small rows would take ten times as long.
SELECT quantity_source, coalesce(fulfillment_channel, ''), string_agg(sku, E'\n'), string_agg(int8send(fba_quantity), ''::bytea),
       string_agg(int8send(fbm_quantity), ''::bytea), string_agg(int8send(quantity), ''::bytea)
FROM fba.global_inventory_pool WHERE store = %(store)s GROUP BY 1, 2

-- name: read_unconfirmed
SELECT sku, fba_unconfirmed_since, fbm_unconfirmed_since FROM fba.global_inventory_pool
WHERE store = %(store)s AND unconfirmed_since IS NOT NULL

-- name: set_unconfirmed
-- Since when no report states the stock of SKUs; null for those that are stated again.
UPDATE fba.global_inventory_pool AS p SET fba_unconfirmed_since = new.fba, fbm_unconfirmed_since = new.fbm
FROM (
    SELECT sku, fba, fbm FROM unnest(%(skus)s::text[], %(fba)s::timestamptz[], %(fbm)s::timestamptz[]) AS kept (sku, fba, fbm)
    UNION ALL
    SELECT sku, NULL, NULL FROM unnest(%(stated)s::text[]) AS stated (sku)
) AS new
WHERE p.store = %(store)s AND p.sku = new.sku
  AND (p.fba_unconfirmed_since, p.fbm_unconfirmed_since) IS DISTINCT FROM (new.fba, new.fbm)

-- name: create_staging
-- What may have changed. A row names its SKU itself, or by the line of the parsed copy that it has.
CREATE TEMPORARY TABLE merged (
    sku text, listing_report_id text, listing_line bigint,
    fba_quantity bigint NOT NULL, fbm_quantity bigint NOT NULL, quantity bigint NOT NULL, quantity_source smallint NOT NULL
) ON COMMIT DROP

-- name: fill_staging_by_line
COPY merged (listing_report_id, listing_line, fba_quantity, fbm_quantity, quantity, quantity_source) FROM STDIN (FORMAT BINARY)

-- name: fill_staging_by_sku
COPY merged (sku, listing_report_id, listing_line, fba_quantity, fbm_quantity, quantity, quantity_source) FROM STDIN

-- name: analyze_staging
ANALYZE merged

-- name: fill_pool
-- Where there is no row of the store yet.
INSERT INTO fba.global_inventory_pool
    (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source, afn_report_id, listings_report_id, {columns})
SELECT {store}, coalesce(merged.sku, l.seller_sku), fba_quantity, fbm_quantity, merged.quantity,
       ({sources}::text[])[merged.quantity_source + 1], {afn_report_id}, {listings_report_id}, {listed_values}
FROM merged LEFT JOIN fba.amazon_all_listings_report AS l
    ON l.store = {store} AND l.report_id = merged.listing_report_id AND l.line_number = merged.listing_line

-- name: merge_pool
-- Only rows in which a value changed are written. A SKU without a listings row keeps its title and the like.
MERGE INTO fba.global_inventory_pool AS p
USING (
    SELECT coalesce(merged.sku, l.seller_sku) AS sku, merged.listing_line, fba_quantity, fbm_quantity, merged.quantity,
           ({sources}::text[])[merged.quantity_source + 1] AS quantity_source, {listed_values}
    FROM merged LEFT JOIN fba.amazon_all_listings_report AS l
        ON l.store = {store} AND l.report_id = merged.listing_report_id AND l.line_number = merged.listing_line
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

-- name: applied
-- What the pool was made from last, whether that was the last thing applied, and how often somebody else has written since ever.
SELECT a.listings_report_id, a.afn_report_id, a.listings_digest, a.afn_digest, a.rules_digest, a.edits, a.held, a.result,
       (SELECT jsonb_object_agg(relation, edits) FROM fba.stock_edit) AS edits_now,
       (SELECT count(*) FROM pg_trigger AS t
        WHERE t.tgname = 'count_stock_edit' AND t.tgenabled = 'A'
          AND t.tgrelid IN (SELECT to_regclass('fba.' || relation) FROM fba.stock_edit)) = 3
       AND NOT EXISTS (  -- the trigger of a partitioned table sees no edit of one of its partitions
        SELECT FROM pg_inherits WHERE inhparent IN (SELECT to_regclass('fba.' || relation) FROM fba.stock_edit)) AS watched,
       a.store IS NOT NULL AND NOT EXISTS (
        SELECT FROM fba.report AS r
        WHERE r.store = a.store AND r.report_type = ANY(%(report_types)s) AND r.applied_at > a.applied_at) AS is_last
FROM (VALUES (%(store)s)) AS ours (store) LEFT JOIN fba.applied_stock AS a USING (store)

-- name: record_applied
INSERT INTO fba.applied_stock (store, listings_report_id, afn_report_id, listings_digest, afn_digest, rules_digest, edits, held, result, applied_at)
VALUES (%(store)s, %(listings_report_id)s, %(afn_report_id)s, %(listings_digest)s, %(afn_digest)s, %(rules_digest)s, %(edits)s, %(held)s, %(result)s, clock_timestamp())
ON CONFLICT (store) DO UPDATE SET
    listings_report_id = excluded.listings_report_id, afn_report_id = excluded.afn_report_id,
    listings_digest = excluded.listings_digest, afn_digest = excluded.afn_digest, rules_digest = excluded.rules_digest,
    edits = excluded.edits, held = excluded.held, result = excluded.result, applied_at = excluded.applied_at

-- name: shared_fnskus
-- Units that are in stock under several SKUs: each SKU reports all of them, so they are offered more than once.
SELECT fulfillment_channel_sku AS fnsku, min(seller_sku COLLATE "C") AS first_sku, max(seller_sku COLLATE "C") AS last_sku
FROM fba.amazon_afn_inventory_report
WHERE store = %(store)s AND fulfillment_channel_sku <> '' AND upper(warehouse_condition_code) = 'SELLABLE' AND quantity_available ~ '[1-9]'
GROUP BY fulfillment_channel_sku HAVING min(seller_sku COLLATE "C") <> max(seller_sku COLLATE "C") ORDER BY 1

-- name: breakdown_since
-- Since when changes are to be asked for; null: all SKUs are to be read, once a day and after a change of the marketplace.
SELECT clock_timestamp() AS begun_at, (
    SELECT read_until FROM fba.breakdown_reading
    WHERE store = %(store)s AND marketplace_id = %(marketplace_id)s
      AND full_at BETWEEN clock_timestamp() - interval '23 hours 30 minutes' AND clock_timestamp()
      AND read_until < clock_timestamp()
) AS since

-- name: write_breakdown
-- Under the store's lock.
INSERT INTO fba.stock_breakdown (store, sku, fnsku, fulfillable, reserved_customer_order, reserved_transfer, reserved_processing,
    inbound_working, inbound_shipped, inbound_receiving, researching, unfulfillable, future_supply, as_of)
SELECT %(store)s, new.*, clock_timestamp()
FROM unnest(%(sku)s::text[], %(fnsku)s::text[], %(fulfillable)s::bigint[], %(reserved_customer_order)s::bigint[],
            %(reserved_transfer)s::bigint[], %(reserved_processing)s::bigint[], %(inbound_working)s::bigint[],
            %(inbound_shipped)s::bigint[], %(inbound_receiving)s::bigint[], %(researching)s::bigint[],
            %(unfulfillable)s::bigint[], %(future_supply)s::bigint[]) AS new
ON CONFLICT (store, sku) DO UPDATE SET
    fnsku = excluded.fnsku, fulfillable = excluded.fulfillable, reserved_customer_order = excluded.reserved_customer_order,
    reserved_transfer = excluded.reserved_transfer, reserved_processing = excluded.reserved_processing,
    inbound_working = excluded.inbound_working, inbound_shipped = excluded.inbound_shipped,
    inbound_receiving = excluded.inbound_receiving, researching = excluded.researching,
    unfulfillable = excluded.unfulfillable, future_supply = excluded.future_supply, as_of = excluded.as_of

-- name: record_breakdown_reading
INSERT INTO fba.breakdown_reading (store, read_until, full_at, marketplace_id)
VALUES (%(store)s, %(read_until)s, %(begun_at)s, %(marketplace_id)s)
ON CONFLICT (store) DO UPDATE SET read_until = excluded.read_until, marketplace_id = excluded.marketplace_id,
    full_at = CASE WHEN %(everything)s THEN excluded.full_at ELSE breakdown_reading.full_at END

-- name: breakdowns_not_named
SELECT count(*) FROM fba.stock_breakdown WHERE store = %(store)s AND as_of < %(begun_at)s

-- name: set_conflicts
WITH gone AS (
    DELETE FROM fba.conflicting_sku WHERE store = %(store)s AND NOT sku = ANY (%(skus)s)
)
INSERT INTO fba.conflicting_sku (store, sku) SELECT %(store)s, unnest(%(skus)s::text[]) ON CONFLICT DO NOTHING
