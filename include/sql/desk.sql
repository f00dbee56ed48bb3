-- name: begin
-- Nothing can be written, and nothing takes long: a page is asked for again, a task is not. To compile a plan takes longer than to run it.
-- With less memory the places of a frequent word are kept by page, and all titles of these pages are read again.
SELECT set_config('jit', 'off', true), set_config('work_mem', '32MB', true), set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %(patience)s, true),
       set_config('lock_timeout', %(patience)s, true), set_config('idle_in_transaction_session_timeout', '1min', true)

-- name: pending_requests
SELECT count(*) AS number FROM fba.fulfillment_request WHERE status = 'pending'

-- name: refused_stock
-- The refused reports that no later one has replaced, each with how often this type was refused since.
SELECT r.report_id, r.report_type, n.number FROM fba.needs_attention AS n JOIN fba.report AS r ON r.store = n.store AND r.report_id = n.subject
WHERE n.store = %(store)s AND n.code = 'refused_stock' ORDER BY r.report_type

-- name: last_failure
SELECT (SELECT failure FROM fba.run WHERE store = %(store)s AND dag_id = %(dag_id)s ORDER BY started_at DESC LIMIT 1) AS failure

-- name: stores
-- From one store to the next by the key: the pool may have millions of rows.
WITH RECURSIVE stocked AS (
    SELECT min(store) AS store FROM fba.global_inventory_pool
    UNION ALL
    SELECT (SELECT min(p.store) FROM fba.global_inventory_pool AS p WHERE p.store > s.store) FROM stocked AS s WHERE s.store IS NOT NULL
)
SELECT store FROM fba.store UNION SELECT store FROM stocked WHERE store IS NOT NULL ORDER BY store

-- name: needs_attention
-- What runs out is as the last run of fba_get_inventory found it: to count the sales of four weeks would keep the page waiting.
SELECT store, code, fba.shortened(subject, 200) AS subject, number, since, fba.shortened(remedy, 300) AS remedy
FROM (
    SELECT store, code, subject, number, since, remedy FROM fba.needs_attention_at_once
    UNION ALL
    SELECT c.store, CASE WHEN c.fba_units = 0 THEN 'out_of_stock' ELSE 'low_stock' END, NULL, count(*), min(c.as_of),
           'None is left, or they last fewer days than low_stock_days: send units to Amazon.'
    FROM fba.stock_cover AS c JOIN fba.store AS s ON s.store = c.store
    WHERE c.days_of_cover < coalesce(s.low_stock_days, 0.1) AND (c.fba_units = 0 OR s.low_stock_days IS NOT NULL) GROUP BY 1, 2
) AS n ORDER BY since DESC NULLS LAST, store, code, subject LIMIT %(most)s

-- name: needs_by_kind
-- One row for what has the same remedy, and the newest of its subjects.
SELECT g.store, g.code, g.remedy, g.number, g.things, g.since, (
    SELECT jsonb_agg(jsonb_build_object('subject', fba.shortened(u.subject, 80), 'key', CASE WHEN octet_length(u.subject) <= 500 AND EXISTS (
               SELECT FROM fba.fulfillment_request AS r WHERE r.store = g.store AND r.fr_number = u.subject) THEN u.subject END) ORDER BY u.n)
    FROM unnest(g.subjects) WITH ORDINALITY AS u (subject, n)
) AS subjects
FROM (
    SELECT n.store, n.code, fba.shortened(n.remedy, 300) AS remedy, sum(n.number)::bigint AS number, count(*) AS things, min(n.since) AS since,
           (array_agg(n.subject ORDER BY n.since DESC NULLS LAST, n.subject) FILTER (WHERE n.subject IS NOT NULL))[1:%(most)s] AS subjects
    FROM (
        SELECT store, code, subject, number, since, remedy FROM fba.needs_attention_at_once
        UNION ALL
        SELECT c.store, CASE WHEN c.fba_units = 0 THEN 'out_of_stock' ELSE 'low_stock' END, NULL, count(*), min(c.as_of),
               'None is left, or they last fewer days than low_stock_days: send units to Amazon.'
        FROM fba.stock_cover AS c JOIN fba.store AS s ON s.store = c.store
        WHERE c.days_of_cover < coalesce(s.low_stock_days, 0.1) AND (c.fba_units = 0 OR s.low_stock_days IS NOT NULL) GROUP BY 1, 2
    ) AS n GROUP BY n.store, n.code, fba.shortened(n.remedy, 300)
) AS g ORDER BY g.since DESC NULLS LAST, g.store, g.code LIMIT 100

-- name: stock_rows
-- The keys are the SKUs in their order n, with what the list adds to each: days of cover, or a change.
SELECT k.n, fba.shortened(k.sku, %(letters)s) AS sku, k.sku AS after_sku, CASE WHEN octet_length(k.sku) <= 500 THEN k.sku END AS key,
       fba.shortened(p.title, %(letters)s) AS title, fba.shortened(p.asin, 40) AS asin, p.quantity, p.fba_quantity, p.fbm_quantity, p.quantity_source,
       p.unconfirmed_since, p.updated_at, k.days_of_cover, k.changed_at, k.changed_from, k.changed_to
FROM ({keys}) AS k LEFT JOIN fba.global_inventory_pool AS p ON p.store = %(store)s AND p.sku = k.sku ORDER BY k.n

-- name: stock_by_sku
SELECT k.sku, row_number() OVER () AS n, NULL::numeric AS days_of_cover, NULL::timestamptz AS changed_at, NULL::bigint AS changed_from, NULL::bigint AS changed_to
FROM (
    SELECT p.sku FROM fba.global_inventory_pool AS p
    WHERE p.store = %(store)s AND (%(only)s = 'all' OR %(only)s = 'zero' AND p.quantity = 0 OR %(only)s = 'unconfirmed' AND p.unconfirmed_since IS NOT NULL)
      AND (%(after)s::text IS NULL OR p.sku > %(after)s)
    ORDER BY p.sku LIMIT %(most)s
) AS k

-- name: stock_fewest
SELECT k.sku, row_number() OVER () AS n, NULL::numeric AS days_of_cover, NULL::timestamptz AS changed_at, NULL::bigint AS changed_from, NULL::bigint AS changed_to
FROM (
    SELECT p.sku FROM fba.global_inventory_pool AS p
    WHERE p.store = %(store)s AND (%(only)s = 'all' OR %(only)s = 'zero' AND p.quantity = 0 OR %(only)s = 'unconfirmed' AND p.unconfirmed_since IS NOT NULL)
      AND (%(after)s::text IS NULL OR (p.quantity, p.sku) > (%(after_units)s, %(after)s))
    ORDER BY p.quantity, p.sku LIMIT %(most)s
) AS k

-- name: stock_most
SELECT k.sku, row_number() OVER () AS n, NULL::numeric AS days_of_cover, NULL::timestamptz AS changed_at, NULL::bigint AS changed_from, NULL::bigint AS changed_to
FROM (
    SELECT p.sku FROM fba.global_inventory_pool AS p
    WHERE p.store = %(store)s AND (%(only)s = 'all' OR %(only)s = 'zero' AND p.quantity = 0 OR %(only)s = 'unconfirmed' AND p.unconfirmed_since IS NOT NULL)
      AND (%(after)s::text IS NULL OR (p.quantity, p.sku) < (%(after_units)s, %(after)s))
    ORDER BY p.quantity DESC, p.sku DESC LIMIT %(most)s
) AS k

-- name: stock_changed
-- The changes of the last 24 hours, newest first; of a SKU that changed twice both.
SELECT k.sku, row_number() OVER () AS n, NULL::numeric AS days_of_cover, k.at AS changed_at, k.quantity_before AS changed_from, k.quantity AS changed_to
FROM (
    SELECT c.sku, c.at, c.quantity_before, c.quantity FROM fba.stock_change AS c
    WHERE c.store = %(store)s AND c.at > statement_timestamp() - interval '24 hours'
      AND (%(after)s::text IS NULL OR (c.at, c.sku) < (%(after_at)s, %(after)s))
    ORDER BY c.at DESC, c.sku DESC LIMIT %(most)s
) AS k

-- name: stock_low
-- What does not last as long as low_stock_days of stores.yaml, or two weeks where that is not set; the shortest first.
SELECT k.sku, row_number() OVER () AS n, k.days_of_cover, NULL::timestamptz AS changed_at, NULL::bigint AS changed_from, NULL::bigint AS changed_to
FROM (
    SELECT o.sku, o.days_of_cover FROM fba.stock_cover AS o
    WHERE o.store = %(store)s
      AND o.days_of_cover < coalesce((SELECT s.low_stock_days FROM fba.store AS s WHERE s.store = %(store)s), 14)
      AND (%(after)s::text IS NULL OR (o.days_of_cover, o.sku) > (%(after_days)s, %(after)s))
    ORDER BY o.days_of_cover, o.sku LIMIT %(most)s
) AS k

-- name: stock_conflicts
-- SKUs of which several lines of the listings report state different quantities; the smallest was taken.
SELECT k.sku, row_number() OVER () AS n, NULL::numeric AS days_of_cover, NULL::timestamptz AS changed_at, NULL::bigint AS changed_from, NULL::bigint AS changed_to
FROM (
    SELECT c.sku FROM fba.conflicting_sku AS c
    WHERE c.store = %(store)s AND (%(after)s::text IS NULL OR c.sku > %(after)s) ORDER BY c.sku LIMIT %(most)s
) AS k

-- name: stock_found
-- First those that begin as it was typed, then those of this ASIN, then those with these words in the title.
SELECT k.sku, row_number() OVER (ORDER BY k.how, k.sku) AS n, NULL::numeric AS days_of_cover, NULL::timestamptz AS changed_at,
       NULL::bigint AS changed_from, NULL::bigint AS changed_to
FROM (
    SELECT f.sku, min(f.how) AS how FROM (
        (SELECT p.sku, 1 AS how FROM fba.global_inventory_pool AS p
         WHERE p.store = %(store)s AND upper(p.sku) LIKE %(begins)s ORDER BY upper(p.sku) USING ~<~ LIMIT %(most)s)
        UNION ALL
        (SELECT p.sku, 2 FROM fba.global_inventory_pool AS p WHERE p.store = %(store)s AND p.asin = %(asin)s LIMIT %(most)s)
        UNION ALL
        (SELECT p.sku, 3 FROM fba.global_inventory_pool AS p
         WHERE p.store = %(store)s AND fba.words_of(p.title) @@ to_tsquery('pg_catalog.simple', %(words)s) LIMIT %(most)s)
    ) AS f GROUP BY f.sku ORDER BY how, f.sku LIMIT %(most)s
) AS k

-- name: sku
SELECT p.store, fba.shortened(p.sku, 200) AS sku, p.sku AS key, fba.shortened(p.title, 300) AS title, fba.shortened(p.brand, 100) AS brand, p.price,
       fba.shortened(p.asin, 40) AS asin, fba.shortened(p.fulfillment_channel, 60) AS fulfillment_channel,
       fba.shortened(p.listing_status, 60) AS listing_status, p.fba_quantity, p.fbm_quantity, p.quantity, p.quantity_source,
       p.afn_report_id, p.listings_report_id, p.updated_at, p.unconfirmed_since,
       a.promised, a.buffer, a.available, a.shares_fnsku_with[1:20] AS shares_fnsku_with
FROM fba.global_inventory_pool AS p
LEFT JOIN fba.available_to_sell AS a ON a.store = p.store AND a.sku = p.sku
WHERE p.store = %(store)s AND p.sku = %(sku)s

-- name: cover
SELECT fba_units, units_a_day, days_of_cover, sales_until, inbound, as_of FROM fba.stock_cover WHERE store = %(store)s AND sku = %(sku)s

-- name: sku_afn_lines
SELECT a.report_id, a.line_number, fba.shortened(a.fulfillment_channel_sku, 60) AS fnsku, fba.shortened(a.condition_type, 60) AS condition_type,
       fba.shortened(a.warehouse_condition_code, 60) AS warehouse_condition_code, fba.shortened(a.quantity_available, 40) AS quantity_available
FROM fba.amazon_afn_inventory_report AS a WHERE a.seller_sku = %(sku)s AND a.store = %(store)s
ORDER BY a.report_id, a.line_number LIMIT 100

-- name: sku_listings_lines
SELECT l.report_id, l.line_number, fba.shortened(l.fulfillment_channel, 60) AS fulfillment_channel, fba.shortened(l.quantity, 40) AS quantity,
       fba.shortened(l.price, 40) AS price, fba.shortened(l.status, 60) AS status, fba.shortened(l.asin1, 40) AS asin
FROM fba.amazon_all_listings_report AS l WHERE l.seller_sku = %(sku)s AND l.store = %(store)s
ORDER BY l.report_id, l.line_number LIMIT 100

-- name: sku_rejected_lines
SELECT j.report_id, r.report_type, j.line_number, fba.shortened(j.reason, 300) AS reason
FROM fba.report AS r JOIN fba.rejected_row AS j ON j.store = r.store AND j.report_id = r.report_id
WHERE r.store = %(store)s AND j.sku = %(sku)s AND r.report_id IN (%(afn_report_id)s, %(listings_report_id)s)
ORDER BY j.report_id, j.line_number LIMIT 20

-- name: sku_history
SELECT at, quantity_before, quantity, fba_quantity, fbm_quantity, quantity_source_before, quantity_source, afn_report_id, listings_report_id
FROM fba.stock_change WHERE store = %(store)s AND sku = %(sku)s ORDER BY at DESC LIMIT %(most)s

-- name: history_begins
SELECT begins_at FROM fba.stock_history

-- name: sku_breakdown
SELECT fnsku, fulfillable, reserved_customer_order, reserved_transfer, reserved_processing, inbound_working, inbound_shipped,
       inbound_receiving, researching, unfulfillable, future_supply, as_of
FROM fba.stock_breakdown WHERE store = %(store)s AND sku = %(sku)s

-- name: sku_requests
SELECT r.store, fba.shortened(r.fr_number, 80) AS fr_number, CASE WHEN octet_length(r.fr_number) <= 500 THEN r.fr_number END AS key, r.status,
       r.created_at, sum(i.quantity)::bigint AS units, max(p.units) AS promised
FROM fba.fulfillment_request_item AS i
JOIN fba.fulfillment_request AS r ON r.store = i.store AND r.fr_number = i.fr_number
LEFT JOIN (SELECT u.fr_number, u.units FROM fba.promised_units AS u WHERE u.store = %(store)s AND u.sku = %(sku)s) AS p ON p.fr_number = r.fr_number
WHERE i.store = %(store)s AND i.sku = %(sku)s AND (r.status IN ('pending', 'sending', 'submitted', 'unknown') OR p.units IS NOT NULL)
GROUP BY r.store, r.fr_number, r.status, r.created_at ORDER BY r.created_at DESC LIMIT 50

-- name: request
SELECT r.store, r.fr_number AS key, fba.shortened(r.fr_number, 80) AS fr_number, fba.shortened(r.displayable_order_number, 80) AS displayable_order_number,
       fba.shortened(r.shipping_method, 40) AS shipping_method, r.speed, r.transport, fba.shortened(r.channel, 60) AS channel, r.packaging,
       r.block_amazon_logistics, r.signature, r.deliver_together, r.deliver_by, r.created_at, r.inserted_at, r.status, r.attempts, r.sent_at, r.resolved_at,
       fba.shortened(r.amazon_order_status, 60) AS amazon_order_status, r.cancel_requested_at, r.acknowledged_at, r.approval_asked_at,
       r.approved_at, r.approved_fee, fba.shortened(r.resend_of, 80) AS resend_of, fba.shortened(r.waiting_reason, 500) AS waiting_reason,
       r.waiting_since, fba.is_stuck(r.store, r.fr_number) AS stuck
FROM fba.fulfillment_request AS r WHERE r.store = %(store)s AND r.fr_number = %(number)s

-- name: request_words
SELECT reason FROM fba.request_words WHERE store = %(store)s AND fr_number = %(number)s

-- name: request_needs
SELECT code, since, fba.shortened(remedy, 300) AS remedy FROM fba.needs_attention_at_once
WHERE store = %(store)s AND subject = %(number)s ORDER BY since

-- name: request_copies
SELECT fba.shortened(fr_number, 80) AS fr_number, fr_number AS key, status FROM fba.fulfillment_request
WHERE store = %(store)s AND resend_of = %(number)s ORDER BY inserted_at LIMIT 20

-- name: request_items
SELECT i.line, fba.shortened(i.sku, 120) AS sku, CASE WHEN octet_length(i.sku) <= 500 THEN i.sku END AS key, i.quantity, i.unit_price,
       fba.shortened(i.title, 120) AS title, p.shipped, p.delivered, p.open
FROM fba.fulfillment_request_item AS i
LEFT JOIN fba.fulfillment_progress AS p ON p.store = i.store AND p.fr_number = i.fr_number AND p.sku = i.sku
WHERE i.store = %(store)s AND i.fr_number = %(number)s ORDER BY i.line LIMIT 200

-- name: request_timeline
SELECT at, what, fba.shortened(package_key, 60) AS package_key, fba.shortened(detail, 300) AS detail, source, fba.shortened(actor, 60) AS actor
FROM fba.request_event WHERE store = %(store)s AND fr_number = %(number)s ORDER BY at, n LIMIT 300

-- name: request_quotes
SELECT speed, quoted_at, fulfillable, fee, fba.shortened(currency, 8) AS currency, ship_earliest, ship_latest, arrive_earliest, arrive_latest,
       shipments, chosen FROM fba.fulfillment_quote WHERE store = %(store)s AND fr_number = %(number)s ORDER BY chosen DESC, speed LIMIT 20

-- name: request_packages
SELECT fba.shortened(p.package_key, 60) AS package_key, fba.shortened(p.carrier, 60) AS carrier,
       fba.shortened(coalesce(p.tracking_number, p.amazon_tracking_number), 60) AS tracking_number,
       CASE WHEN p.tracking_url ~ '^https://[^\s"<>]+$' AND octet_length(p.tracking_url) <= 1000 THEN p.tracking_url END AS tracking_url,
       p.status, p.ship_date, p.arrives_at, p.delivered_at, p.updated_at, i.units, i.skus
FROM fba.package AS p CROSS JOIN LATERAL (
    SELECT sum(quantity)::bigint AS units, fba.shortened(string_agg(fba.shortened(sku, 60), ', ' ORDER BY sku), 300) AS skus
    FROM fba.package_item AS i WHERE i.store = p.store AND i.fr_number = p.fr_number AND i.package_key = p.package_key
) AS i
WHERE p.store = %(store)s AND p.fr_number = %(number)s ORDER BY p.first_seen_at LIMIT 100

-- name: request_shipments
SELECT fba.shortened(carrier, 60) AS carrier, fba.shortened(tracking_number, 60) AS tracking_number, fba.shortened(service_level, 60) AS service_level,
       fba.shortened(sku, 120) AS sku, quantity, ship_date
FROM fba.shipment_item WHERE store = %(store)s AND coalesce(fr_number, merchant_order_id) = %(number)s ORDER BY ship_date LIMIT 200

-- name: request_feeds
SELECT f.feed_id, f.status, f.submitted_at, f.finished_at, fba.shortened(m.result_code, 60) AS result_code,
       fba.shortened(m.message_code, 60) AS message_code, w.description
FROM fba.feed_message AS m JOIN fba.feed AS f ON f.store = m.store AND f.document_id = m.document_id
LEFT JOIN fba.feed_message_words AS w ON w.store = m.store AND w.document_id = m.document_id AND w.message_id = m.message_id
WHERE m.store = %(store)s AND m.fr_number = %(number)s ORDER BY f.claimed_at DESC LIMIT 20

-- name: requests_listed
SELECT r.store, fba.shortened(r.fr_number, %(letters)s) AS fr_number, r.fr_number AS after_number, CASE WHEN octet_length(r.fr_number) <= 500 THEN r.fr_number END AS key,
       r.status, fba.shortened(r.channel, 60) AS channel, fba.shortened(r.shipping_method, 40) AS shipping_method, r.created_at, r.sent_at, r.resolved_at,
       fba.shortened(r.amazon_order_status, 60) AS amazon_order_status, fba.shortened(coalesce(w.reason, r.waiting_reason), %(letters)s) AS reason, i.skus, i.units
FROM (
    SELECT q.store, q.fr_number FROM fba.fulfillment_request AS q
    WHERE (%(store)s::text IS NULL OR q.store = %(store)s) AND (%(status)s::text IS NULL OR q.status = %(status)s)
      AND (%(channel)s::text IS NULL OR q.channel = %(channel)s)
      AND (%(day)s::date IS NULL OR q.created_at >= %(day)s::date::timestamp AT TIME ZONE 'UTC' AND q.created_at < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC')
      AND (%(number)s::text IS NULL OR upper(q.fr_number) LIKE %(number)s OR upper(q.displayable_order_number) LIKE %(number)s)
      AND (%(sku)s::text IS NULL OR (q.store, q.fr_number) IN (
          SELECT i.store, i.fr_number FROM fba.fulfillment_request_item AS i WHERE i.sku = %(sku)s AND (%(store)s::text IS NULL OR i.store = %(store)s)))
      AND (%(after)s::text IS NULL OR (q.created_at, q.store, q.fr_number) < (%(after_at)s, %(after_store)s, %(after)s))
    ORDER BY q.created_at DESC, q.store DESC, q.fr_number DESC LIMIT %(most)s
) AS k
JOIN fba.fulfillment_request AS r ON r.store = k.store AND r.fr_number = k.fr_number
LEFT JOIN fba.request_words AS w ON w.store = k.store AND w.fr_number = k.fr_number
LEFT JOIN LATERAL (
    SELECT count(*) AS skus, sum(i.quantity)::bigint AS units FROM fba.fulfillment_request_item AS i WHERE i.store = k.store AND i.fr_number = k.fr_number
) AS i ON true
ORDER BY r.created_at DESC, r.store DESC, r.fr_number DESC

-- name: channels
SELECT DISTINCT fba.shortened(channel, 60) AS channel FROM fba.fulfillment_request
WHERE channel IS NOT NULL AND octet_length(channel) <= 60 ORDER BY 1 LIMIT 50

-- name: stock_units
-- At the end of each of the last 90 days, as far as the history of a store reaches.
WITH bounds AS (
    SELECT (statement_timestamp() AT TIME ZONE 'UTC')::date - 89 AS first_day
), by_day AS (
    SELECT t.store, greatest((t.at AT TIME ZONE 'UTC')::date, w.first_day - 1) AS day, sum(t.units) AS units, min(t.at) AS first_at
    FROM fba.stock_total_change AS t CROSS JOIN bounds AS w GROUP BY 1, 2
)
SELECT c.store, c.day, c.units::bigint AS units
FROM (
    SELECT s.store, d.day, sum(coalesce(b.units, 0)) OVER (PARTITION BY s.store ORDER BY d.day) AS units, s.first_at
    FROM (SELECT store, min(first_at) AS first_at FROM by_day GROUP BY store) AS s
    CROSS JOIN bounds AS w CROSS JOIN LATERAL (SELECT w.first_day + n AS day FROM generate_series(-1, 89) AS n) AS d
    LEFT JOIN by_day AS b ON b.store = s.store AND b.day = d.day
) AS c CROSS JOIN bounds AS w
WHERE c.day >= w.first_day
  AND greatest(c.first_at, (SELECT begins_at FROM fba.stock_history)) < (c.day + 1)::timestamp AT TIME ZONE 'UTC'
ORDER BY c.store, c.day

-- name: requests_by_day
SELECT (created_at AT TIME ZONE 'UTC')::date AS day, status, count(*) AS requests FROM fba.fulfillment_request
WHERE created_at >= ((statement_timestamp() AT TIME ZONE 'UTC')::date - 13)::timestamp AT TIME ZONE 'UTC' AND created_at < statement_timestamp() + interval '1 day'
GROUP BY 1, 2 ORDER BY 1 DESC, 2

-- name: parcels_by_status
-- All that are on their way, and what was delivered in the last 30 days.
SELECT status, count(*) AS parcels, min(arrives_at) AS arrives_first FROM fba.package WHERE status IS DISTINCT FROM 'DELIVERED' GROUP BY status
UNION ALL
SELECT 'DELIVERED', count(*), NULL FROM fba.package WHERE status = 'DELIVERED' AND delivered_at > statement_timestamp() - interval '30 days' HAVING count(*) > 0
ORDER BY 1

-- name: freshness
SELECT s.store, s.max_stock_age_hours, l.requested_at AS listings_at, a.requested_at AS afn_at, h.requested_at AS shipments_at,
       c.read_at AS orders_at, r.finished_at AS inventory_run_at, r.outcome AS inventory_outcome
FROM fba.store AS s
LEFT JOIN LATERAL (SELECT requested_at FROM fba.report AS r WHERE r.store = s.store AND r.report_type = 'GET_MERCHANT_LISTINGS_ALL_DATA'
    AND r.applied_at IS NOT NULL ORDER BY r.applied_at DESC LIMIT 1) AS l ON true
LEFT JOIN LATERAL (SELECT requested_at FROM fba.report AS r WHERE r.store = s.store AND r.report_type = 'GET_AFN_INVENTORY_DATA'
    AND r.applied_at IS NOT NULL ORDER BY r.applied_at DESC LIMIT 1) AS a ON true
LEFT JOIN LATERAL (SELECT requested_at FROM fba.report AS r WHERE r.store = s.store AND r.report_type = 'GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL'
    AND r.applied_at IS NOT NULL ORDER BY r.applied_at DESC LIMIT 1) AS h ON true
LEFT JOIN fba.order_cursor AS c ON c.store = s.store
LEFT JOIN LATERAL (SELECT finished_at, outcome FROM fba.run AS r WHERE r.dag_id = 'fba_get_inventory' AND r.store = s.store
    ORDER BY r.started_at DESC LIMIT 1) AS r ON true
ORDER BY s.store

-- name: reports_listed
SELECT request_id, store, report_id, report_type, status, requested_at, finished_at, applied_at, refused_at, row_count, rejected_row_count, data_start, data_end
FROM fba.report
WHERE (%(store)s::text IS NULL OR store = %(store)s) AND (%(only)s = 'all' OR %(only)s = 'refused' AND refused_at IS NOT NULL OR %(only)s = 'rejected' AND rejected_row_count > 0)
  AND (%(after)s::uuid IS NULL OR (requested_at, request_id) < (%(after_at)s, %(after)s::uuid))
ORDER BY requested_at DESC, request_id DESC LIMIT %(most)s

-- name: rejected_lines
SELECT line_number, fba.shortened(reason, 300) AS reason, fba.shortened(sku, 120) AS sku, CASE WHEN octet_length(sku) <= 500 THEN sku END AS key
FROM fba.rejected_row WHERE store = %(store)s AND report_id = %(report)s ORDER BY line_number LIMIT %(most)s

-- name: refusals
SELECT store, code, subject AS report_id, number, since, remedy FROM fba.needs_attention_at_once WHERE code = 'refused_stock' ORDER BY since

-- name: last_runs
SELECT d.dag_id, s.store, r.run_id, r.started_at, r.finished_at, r.ends_by, r.outcome, r.rows_in, r.rows_rejected, r.rows_changed, r.throttled_seconds,
       fba.shortened(r.failure, 300) AS failure
FROM (SELECT DISTINCT store FROM fba.store) AS s
CROSS JOIN unnest(%(dags)s::text[]) WITH ORDINALITY AS d (dag_id, n)
JOIN LATERAL (
    SELECT r.run_id, r.started_at, r.finished_at, r.ends_by, r.outcome, r.rows_in, r.rows_rejected, r.rows_changed, r.throttled_seconds, r.failure
    FROM fba.run AS r WHERE r.dag_id = d.dag_id AND r.store = s.store ORDER BY r.started_at DESC LIMIT 3
) AS r ON true
ORDER BY s.store, d.n, r.started_at DESC

-- name: calls_by_operation
SELECT r.store, c.operation, sum(c.calls::bigint)::bigint AS calls, sum(r.throttled_seconds) AS throttled
FROM fba.run AS r CROSS JOIN LATERAL jsonb_each_text(r.calls) AS c (operation, calls)
WHERE r.started_at > statement_timestamp() - interval '24 hours' GROUP BY r.store, c.operation ORDER BY r.store, c.operation

-- name: quotas
SELECT bucket, tokens, rate, burst, refilled_at, least(burst, tokens + rate * extract(epoch FROM statement_timestamp() - refilled_at)) AS left_now
FROM fba.rate_limit ORDER BY bucket LIMIT 200
