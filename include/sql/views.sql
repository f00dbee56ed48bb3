-- views 6
-- The views as they are now. migrate() runs this file after the numbered migrations, and again whenever it has changed.
-- Whoever changes anything below raises the number in the first line: of two installs on one warehouse the larger number
-- wins, and with equal numbers each would replace the views of the other.
-- CREATE OR REPLACE can only add columns at the end: for any other change, drop the view in a migration.

-- Each parcel's units of a SKU, as the shipments report and as the order tell them. '' stands for parcels without a number: what
-- has no digit but 0 is none, and a parcel of which only Amazon's number is known may be any that the report knows by a carrier's.
-- Parcels that share a number are one here, because the report has no more of them.
CREATE OR REPLACE VIEW fba.parcel_line AS
SELECT s.store, coalesce(s.fr_number, s.merchant_order_id) AS fr_number, s.sku,
       coalesce(fba.reported_parcel(s.store, coalesce(s.fr_number, s.merchant_order_id), n.number), '') AS parcel,
       s.quantity AS by_report, 0::bigint AS by_order, 0::bigint AS delivered,
       n.number AS reported_number, NULL AS order_number,
       nullif(s.carrier, '') AS reported_carrier, NULL AS order_carrier, nullif(s.service_level, '') AS service_level
FROM fba.shipment_item AS s CROSS JOIN LATERAL (SELECT substring(s.tracking_number FROM '.*[1-9].*') AS number) AS n
WHERE coalesce(s.fr_number, s.merchant_order_id) IS NOT NULL
UNION ALL
SELECT i.store, i.fr_number, i.sku,
       CASE WHEN n.by_carrier IS NOT NULL OR EXISTS (
           SELECT FROM fba.shipment_item AS s
           WHERE s.store = p.store AND coalesce(s.fr_number, s.merchant_order_id) = p.fr_number
             AND fba.parcel_number(s.tracking_number) = fba.parcel_number(n.by_amazon))
       THEN fba.reported_parcel(p.store, p.fr_number, coalesce(n.by_carrier, n.by_amazon)) ELSE '' END,
       0, i.quantity, CASE WHEN p.status = 'DELIVERED' THEN i.quantity ELSE 0 END,
       NULL, coalesce(n.by_carrier, n.by_amazon), NULL, p.carrier, NULL
FROM fba.package_item AS i JOIN fba.package AS p USING (store, fr_number, package_key)
CROSS JOIN LATERAL (
    SELECT substring(p.tracking_number FROM '.*[1-9].*') AS by_carrier, substring(p.amazon_tracking_number FROM '.*[1-9].*') AS by_amazon
) AS n
WHERE fba.has_left(p.status, p.ship_date);
COMMENT ON VIEW fba.parcel_line IS
    'Units of a SKU in a parcel that has left Amazon, by the shipments report (by_report) and by the order (by_order).';

-- Shipped is the union of the parcels that report and order know: what both know counts once. A parcel without a number may
-- be any that only the other one knows, so it counts only beyond those. Where neither of them says that more was shipped than
-- ordered, no more was: one parcel has two numbers. Parcels of a request that was sent again count for both numbers. A carrier is
-- spelt as the report spells it, where that knows the parcel.
CREATE OR REPLACE VIEW fba.fulfillment_progress AS
WITH shown AS NOT MATERIALIZED (
    SELECT store, fr_number, sku, parcel, by_report, by_order, delivered, reported_number, order_number, reported_carrier,
           order_carrier, service_level
    FROM fba.parcel_line
    UNION ALL
    SELECT n.store, n.resend_of, l.sku, l.parcel, l.by_report, l.by_order, l.delivered, l.reported_number, l.order_number,
           l.reported_carrier, l.order_carrier, l.service_level
    FROM fba.fulfillment_request AS n JOIN fba.parcel_line AS l ON l.store = n.store AND l.fr_number = n.fr_number
    WHERE n.resend_of IS NOT NULL
), parcels AS NOT MATERIALIZED (
    SELECT store, fr_number, sku, parcel, 0::numeric AS ordered, sum(by_report) AS by_report, sum(by_order) AS by_order,
           sum(delivered) AS delivered,
           CASE WHEN count(reported_number) > 0 THEN array_agg(DISTINCT reported_number) FILTER (WHERE reported_number <> '')
                ELSE array_agg(DISTINCT order_number) FILTER (WHERE order_number <> '') END AS numbers,
           coalesce(min(reported_carrier), min(order_carrier)) AS carrier,
           string_agg(DISTINCT service_level, ', ') AS service_level
    FROM shown GROUP BY store, fr_number, sku, parcel
    UNION ALL
    SELECT store, fr_number, sku, NULL, quantity, 0, 0, 0, NULL, NULL, NULL FROM fba.fulfillment_request_item
), unions AS NOT MATERIALIZED (
    SELECT store, fr_number, sku, sum(ordered)::bigint AS ordered, sum(by_report)::bigint AS by_report, sum(by_order)::bigint AS by_order,
           (coalesce(sum(greatest(by_report, by_order)) FILTER (WHERE parcel <> ''), 0) + greatest(
               coalesce(sum(by_report) FILTER (WHERE parcel = ''), 0) - coalesce(sum(by_order) FILTER (WHERE parcel <> '' AND by_report = 0), 0),
               coalesce(sum(by_order) FILTER (WHERE parcel = ''), 0) - coalesce(sum(by_report) FILTER (WHERE parcel <> '' AND by_order = 0), 0),
               0))::bigint AS units,
           sum(delivered)::bigint AS delivered,
           array_agg(DISTINCT array_to_string(numbers, E'\n')) FILTER (WHERE numbers IS NOT NULL) AS numbers,
           coalesce(array_agg(DISTINCT carrier) FILTER (WHERE carrier <> ''), '{}') AS carriers,
           string_agg(DISTINCT service_level, ', ') AS service_level
    FROM parcels GROUP BY store, fr_number, sku
), sums AS NOT MATERIALIZED (
    SELECT u.*, least(u.units, greatest(u.ordered, u.by_report, u.by_order)) AS shipped FROM unions AS u
)
SELECT r.store, r.fr_number, l.sku, l.ordered, l.shipped, greatest(l.ordered - l.shipped, 0) AS open,
       greatest(l.shipped - l.ordered, 0) AS over_shipped,
       CASE WHEN l.shipped = 0 THEN 'open' WHEN l.shipped < l.ordered THEN 'partial' ELSE 'complete' END AS status,
       coalesce(string_to_array(array_to_string(l.numbers, E'\n'), E'\n'), '{}') AS tracking_numbers, l.carriers, l.service_level,
       least(l.delivered, l.shipped) AS delivered,
       CASE WHEN l.by_report > 0 AND l.by_order > 0 THEN 'both' WHEN l.by_report > 0 THEN 'report' WHEN l.by_order > 0 THEN 'order' END AS witnesses,
       l.by_report AS shipped_by_report, l.by_order AS shipped_by_order
FROM fba.fulfillment_request AS r JOIN sums AS l ON l.store = r.store AND l.fr_number = r.fr_number
WHERE r.status IN ('submitted', 'accepted', 'unknown')
   OR r.status IN ('cancelled', 'rejected') AND EXISTS (
       SELECT FROM fba.fulfillment_request AS n WHERE n.store = r.store AND n.resend_of = r.fr_number);
COMMENT ON VIEW fba.fulfillment_progress IS
    'Per SKU of each request Amazon has: units ordered, shipped in any number of parcels, delivered, and still open.';

-- The units of each request that are surely or possibly still in the quantity of the pool: those of requests that are not decided,
-- and those that Amazon accepted after the reports were asked for on which the quantity rests. Amazon may take them off sooner; then
-- they count twice for a while, which offers too little and never too much.
CREATE OR REPLACE VIEW fba.promised_units AS
WITH stated AS (  -- when the older of the two reports was asked for that were applied last; a time that is still to come is no age
    SELECT s.store, CASE WHEN count(newest.requested_at) = 2 THEN min(newest.requested_at) END AS as_of
    FROM (SELECT DISTINCT store FROM fba.report WHERE applied_at IS NOT NULL) AS s
    CROSS JOIN (VALUES ('GET_MERCHANT_LISTINGS_ALL_DATA'), ('GET_AFN_INVENTORY_DATA')) AS t (report_type)
    LEFT JOIN LATERAL (
        SELECT r.requested_at FROM fba.report AS r
        WHERE r.store = s.store AND r.report_type = t.report_type AND r.applied_at IS NOT NULL
          AND r.requested_at <= statement_timestamp()
        ORDER BY r.applied_at DESC LIMIT 1
    ) AS newest ON true
    GROUP BY s.store
), kept AS (  -- SKUs that these reports do not state keep a quantity that an earlier one stated: at least the one it came with
    SELECT p.store, p.sku, (
        SELECT CASE WHEN count(*) = 2 AND max(r.requested_at) <= statement_timestamp() THEN min(r.requested_at) END FROM fba.report AS r
        WHERE r.store = p.store AND r.report_id IN (p.afn_report_id, p.listings_report_id)
    ) AS as_of
    FROM (
        SELECT store, sku FROM fba.global_inventory_pool WHERE unconfirmed_since IS NOT NULL
        UNION
        SELECT store, unnest(held) FROM fba.applied_stock
        UNION
        SELECT pool.store, pool.sku FROM fba.applied_stock AS many JOIN fba.global_inventory_pool AS pool ON pool.store = many.store
        WHERE many.held IS NULL  -- too many to list: any may be one of them
    ) AS k
    JOIN fba.global_inventory_pool AS p ON p.store = k.store AND p.sku = k.sku
), counted AS (
    SELECT r.store, r.fr_number, i.sku, i.quantity, r.status, r.resend_of, r.inserted_at
    FROM fba.fulfillment_request AS r
    JOIN fba.fulfillment_request_item AS i ON i.store = r.store AND i.fr_number = r.fr_number
    WHERE r.status IN ('pending', 'sending', 'submitted', 'unknown')
    UNION ALL
    SELECT r.store, r.fr_number, i.sku, i.quantity, r.status, r.resend_of, r.inserted_at
    FROM fba.fulfillment_request AS r
    LEFT JOIN stated AS a ON a.store = r.store
    JOIN fba.fulfillment_request_item AS i ON i.store = r.store AND i.fr_number = r.fr_number
    WHERE r.status = 'accepted' AND (a.as_of IS NULL OR coalesce(r.resolved_at, r.created_at) >= a.as_of)
      AND lower(coalesce(r.amazon_order_status, '')) NOT IN ('unfulfillable', 'cancelled', 'invalid')
    UNION ALL
    SELECT r.store, r.fr_number, i.sku, i.quantity, r.status, r.resend_of, r.inserted_at
    FROM kept AS k
    JOIN stated AS a ON a.store = k.store
    JOIN fba.fulfillment_request_item AS i ON i.store = k.store AND i.sku = k.sku
    JOIN fba.fulfillment_request AS r ON r.store = i.store AND r.fr_number = i.fr_number
    WHERE r.status = 'accepted' AND coalesce(r.resolved_at, r.created_at) < a.as_of
      AND (k.as_of IS NULL OR coalesce(r.resolved_at, r.created_at) >= k.as_of)
      AND lower(coalesce(r.amazon_order_status, '')) NOT IN ('unfulfillable', 'cancelled', 'invalid')
)
SELECT c.store, c.fr_number, c.sku, sum(c.quantity)::bigint AS units, c.status
FROM counted AS c
WHERE NOT EXISTS (  -- of a request and its copies the last one counts that is alive
    SELECT FROM fba.fulfillment_request AS n
    WHERE n.store = c.store AND n.resend_of = coalesce(c.resend_of, c.fr_number) AND n.fr_number <> c.fr_number
      AND n.inserted_at >= c.inserted_at AND n.status NOT IN ('cancelled', 'rejected', 'invalid'))
GROUP BY c.store, c.fr_number, c.sku, c.status;
COMMENT ON VIEW fba.promised_units IS
    'Units of requests that may still be in the quantity of the pool, so that nobody else may be offered them.';

CREATE OR REPLACE VIEW fba.available_to_sell AS
SELECT p.store, p.sku, p.quantity, coalesce(r.promised, 0) AS promised, coalesce(s.buffer_units, 0) AS buffer,
       greatest(p.quantity - coalesce(r.promised, 0) - coalesce(s.buffer_units, 0), 0) AS available,
       coalesce(f.skus, '{}') AS shares_fnsku_with
FROM fba.global_inventory_pool AS p
LEFT JOIN fba.store AS s ON s.store = p.store
LEFT JOIN (SELECT store, sku, sum(units)::bigint AS promised FROM fba.promised_units GROUP BY store, sku) AS r
    ON r.store = p.store AND r.sku = p.sku
LEFT JOIN (
    SELECT a.store, a.seller_sku, array_agg(DISTINCT b.seller_sku ORDER BY b.seller_sku) AS skus
    FROM fba.amazon_afn_inventory_report AS a
    JOIN fba.amazon_afn_inventory_report AS b
        ON b.store = a.store AND b.fulfillment_channel_sku = a.fulfillment_channel_sku AND b.seller_sku <> a.seller_sku
    WHERE a.fulfillment_channel_sku <> ''
    GROUP BY a.store, a.seller_sku
) AS f ON f.store = p.store AND f.seller_sku = p.sku;
COMMENT ON VIEW fba.available_to_sell IS
    'What of each SKU may be offered elsewhere: quantity less what is promised to requests and less the buffer of stores.yaml, never negative.';

-- SKUs of one FNSKU each state all of its units, so the smallest statement counts that is no 0. A SKU is in one row only.
CREATE OR REPLACE VIEW fba.available_by_fnsku AS
SELECT store, fnsku, skus, quantity, promised, buffer, greatest(quantity - promised - buffer, 0) AS available
FROM (
    SELECT a.store, f.fnsku, array_agg(a.sku ORDER BY a.sku) AS skus,
           coalesce(min(a.quantity) FILTER (WHERE a.quantity > 0), 0) AS quantity,
           sum(a.promised)::bigint AS promised, max(a.buffer) AS buffer
    FROM fba.available_to_sell AS a
    LEFT JOIN (
        SELECT store, seller_sku, min(fulfillment_channel_sku) AS fnsku FROM fba.amazon_afn_inventory_report
        WHERE fulfillment_channel_sku <> '' GROUP BY store, seller_sku
    ) AS f ON f.store = a.store AND f.seller_sku = a.sku
    GROUP BY a.store, f.fnsku, CASE WHEN f.fnsku IS NULL THEN a.sku END
) AS units;
COMMENT ON VIEW fba.available_by_fnsku IS
    'fba.available_to_sell with units that several SKUs share counted once; a SKU without an FNSKU in the AFN report has a row of its own.';

-- Units sold a day in the 28 days up to the newest sale or report, or in those of them that are known, at least 7. The strongest of
-- the weeks counts at most twice the second strongest (from 14 known days on), so that one large order is no trend. A sale is a shipped item, or what of
-- a request is not shipped yet.
CREATE OR REPLACE VIEW fba.stock_outlook AS
WITH sale AS (
    SELECT store, sku, quantity::numeric AS units, ship_date AS at FROM fba.shipment_item
    WHERE ship_date BETWEEN statement_timestamp() - interval '56 days' AND statement_timestamp()
    UNION ALL
    SELECT r.store, i.sku, greatest(sum(i.quantity) - coalesce(max(s.units), 0), 0), r.created_at
    FROM fba.fulfillment_request AS r
    JOIN fba.fulfillment_request_item AS i ON i.store = r.store AND i.fr_number = r.fr_number
    LEFT JOIN LATERAL (
        SELECT sum(quantity) AS units FROM fba.shipment_item AS p
        WHERE p.store = r.store AND coalesce(p.fr_number, p.merchant_order_id) = r.fr_number AND p.sku = i.sku
    ) AS s ON true
    WHERE r.created_at BETWEEN statement_timestamp() - interval '56 days' AND statement_timestamp()
      AND (r.status IN ('pending', 'sending', 'submitted', 'unknown') OR r.status = 'accepted'
           AND lower(coalesce(r.amazon_order_status, '')) NOT IN ('unfulfillable', 'cancelled', 'invalid'))
    GROUP BY r.store, r.fr_number, i.sku, r.created_at
), known AS (
    SELECT store, max(at) AS until, min(at) AS first_at FROM sale GROUP BY store
), reported AS (
    SELECT store, max(data_end) AS until, min(data_start) AS first_at FROM fba.report
    WHERE report_type = 'GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL' AND applied_at IS NOT NULL
      AND requested_at > statement_timestamp() - interval '56 days'
    GROUP BY store
), days AS (
    SELECT k.store, w.until,
           least(greatest(floor(extract(epoch FROM w.until - k.first_at) / 86400) + 1,
                          extract(epoch FROM w.until - r.first_at) / 86400, 7), 28) AS days
    FROM known AS k LEFT JOIN reported AS r ON r.store = k.store
    CROSS JOIN LATERAL (SELECT greatest(k.until, least(r.until, statement_timestamp())) AS until) AS w
), sold AS (
    SELECT s.store, s.sku, d.until, d.days,
           coalesce(sum(s.units) FILTER (WHERE s.at > d.until - interval '7 days'), 0) AS a,
           coalesce(sum(s.units) FILTER (WHERE s.at > d.until - interval '14 days' AND s.at <= d.until - interval '7 days'), 0) AS b,
           coalesce(sum(s.units) FILTER (WHERE s.at > d.until - interval '21 days' AND s.at <= d.until - interval '14 days'), 0) AS c,
           coalesce(sum(s.units) FILTER (WHERE s.at <= d.until - interval '21 days'), 0) AS d
    FROM sale AS s JOIN days AS d ON d.store = s.store AND s.at > d.until - interval '28 days'
    GROUP BY s.store, s.sku, d.until, d.days
), pace AS (
    SELECT store, sku, until, (a + b + c + d - CASE WHEN days < 14 THEN 0 ELSE greatest(
        greatest(a, b, c, d) - greatest(2 * greatest(least(a, b), least(c, d), least(greatest(a, b), greatest(c, d))), 1), 0) END) / days
        AS units_a_day
    FROM sold
)
SELECT p.store, p.sku, u.units AS fba_units, round(s.units_a_day, 3) AS units_a_day,
       CASE WHEN s.units_a_day > 0 THEN round(u.units / s.units_a_day, 1) END AS days_of_cover, s.until AS sales_until,
       b.inbound_working + b.inbound_shipped + b.inbound_receiving AS inbound, b.as_of AS inbound_as_of, p.updated_at
FROM fba.global_inventory_pool AS p
LEFT JOIN pace AS s ON s.store = p.store AND s.sku = p.sku
LEFT JOIN (SELECT store, sku, sum(units)::bigint AS promised FROM fba.promised_units GROUP BY store, sku) AS r
    ON r.store = p.store AND r.sku = p.sku
CROSS JOIN LATERAL (SELECT greatest(p.fba_quantity - coalesce(r.promised, 0), 0) AS units) AS u
LEFT JOIN fba.stock_breakdown AS b ON b.store = p.store AND b.sku = p.sku;
COMMENT ON VIEW fba.stock_outlook IS
    'How long the FBA stock of each SKU lasts: units that are not promised, units sold a day in the last 28 days, days of cover, and what is inbound.';

-- statement_timestamp(), not clock_timestamp(): that is volatile, so no index on a time could be used.
CREATE OR REPLACE VIEW fba.needs_attention_at_once AS
WITH recent AS (  -- events of the last day: the newest run that reported each
    SELECT DISTINCT ON (r.store, a.code) r.store, a.code, a.number::bigint AS number, r.finished_at
    FROM fba.run AS r CROSS JOIN LATERAL jsonb_each_text(r.attention) AS a (code, number)
    WHERE r.started_at > statement_timestamp() - interval '24 hours' AND r.finished_at IS NOT NULL AND r.attention <> '{}'
      AND a.code IN ('zeroed_skus', 'vanished_skus', 'units_jumped', 'report_drift', 'rejected_lines', 'conflicting_skus', 'shared_fnsku', 'clock_skew')
    ORDER BY r.store, a.code, r.started_at DESC
), stock AS (
    SELECT s.store, s.max_stock_age_hours, (
        SELECT min(coalesce(newest.requested_at, s.first_run))  -- a report that never came is as old as the first run
        FROM (VALUES ('GET_MERCHANT_LISTINGS_ALL_DATA'), ('GET_AFN_INVENTORY_DATA')) AS t (report_type)
        LEFT JOIN LATERAL (
            SELECT r.requested_at FROM fba.report AS r
            WHERE r.store = s.store AND r.report_type = t.report_type AND r.applied_at IS NOT NULL
              AND r.requested_at <= statement_timestamp()
            ORDER BY r.requested_at DESC LIMIT 1
        ) AS newest ON true
    ) AS as_of, EXISTS (
        SELECT FROM fba.report AS r
        WHERE r.store = s.store AND r.report_type IN ('GET_MERCHANT_LISTINGS_ALL_DATA', 'GET_AFN_INVENTORY_DATA')
          AND r.applied_at IS NOT NULL AND r.requested_at > statement_timestamp()
    ) AS from_to_come
    FROM (
        SELECT store, max_stock_age_hours,
               (SELECT min(started_at) FROM fba.run AS r WHERE r.store = k.store AND r.dag_id = 'fba_get_inventory') AS first_run
        FROM fba.store AS k
    ) AS s
), refused AS (
    SELECT DISTINCT ON (r.store, r.report_type) r.store, r.report_id, r.refused_at,
           count(*) OVER (PARTITION BY r.store, r.report_type) AS number,
           min(r.refused_at) OVER (PARTITION BY r.store, r.report_type) AS since
    FROM fba.report AS r
    WHERE r.refused_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM fba.report AS later WHERE later.store = r.store AND later.report_type = r.report_type
          AND later.applied_at IS NOT NULL AND later.requested_at >= r.requested_at)
    ORDER BY r.store, r.report_type, r.requested_at DESC
), undelivered AS (  -- parcels, and what was promised before there is one; judged by what Amazon was asked since
    SELECT p.store, p.fr_number, p.status, p.arrives_at, p.updated_at, t.changed_at, r.acknowledged_at, greatest(c.read_at, t.read_at) AS seen_at
    FROM fba.package AS p JOIN fba.fulfillment_request AS r USING (store, fr_number) JOIN fba.tracked_order AS t USING (store, fr_number)
    LEFT JOIN fba.order_cursor AS c ON c.store = p.store
    WHERE p.status IS DISTINCT FROM 'DELIVERED'
      AND (r.status = 'accepted' OR r.status = 'rejected' AND fba.has_left(p.status, p.ship_date))  -- a part was shipped
    UNION ALL
    SELECT t.store, t.fr_number, NULL, t.arrives_by, t.changed_at, 'infinity', r.acknowledged_at, greatest(c.read_at, t.read_at)
    FROM fba.tracked_order AS t JOIN fba.fulfillment_request AS r USING (store, fr_number) LEFT JOIN fba.order_cursor AS c ON c.store = t.store
    WHERE t.arrives_by IS NOT NULL AND NOT t.finished AND r.status = 'accepted'
), late AS (  -- by its parcels, and by its quote until nothing of it is on its way any more
    SELECT store, fr_number, count(*) AS number, min(arrives_at) AS since, true AS promise_broken,
           'Not delivered when Amazon promised: tell the buyer; fba.package has each parcel. acknowledged_at takes it from here.' AS remedy
    FROM undelivered
    WHERE status IS DISTINCT FROM 'UNDELIVERABLE' AND arrives_at < seen_at AND coalesce(acknowledged_at < arrives_at, true)
    GROUP BY store, fr_number
    UNION ALL
    SELECT r.store, r.fr_number, 1, q.quoted_at, false,
           'By its quote it may arrive on ' || to_char(q.arrive_latest AT TIME ZONE 'UTC', 'YYYY-MM-DD') || ', after deliver_by: tell the buyer, or cancel; then set acknowledged_at.'
    FROM fba.fulfillment_request AS r JOIN fba.fulfillment_quote AS q ON q.store = r.store AND q.fr_number = r.fr_number AND q.chosen
    WHERE r.status IN ('sending', 'submitted', 'unknown', 'accepted') AND q.arrive_latest > r.deliver_by
      AND r.deliver_by > statement_timestamp() - interval '30 days' AND coalesce(r.acknowledged_at < q.quoted_at, true)
      AND NOT EXISTS (SELECT FROM fba.tracked_order AS t WHERE t.store = r.store AND t.fr_number = r.fr_number AND t.finished)
    UNION ALL
    SELECT store, fr_number, count(*), min(updated_at), false,
           'The carrier tells nothing more of a parcel, and Amazon has promised no day: ask the buyer whether it came; then set acknowledged_at.'
    FROM undelivered WHERE status = 'EXPIRED' AND arrives_at IS NULL AND coalesce(acknowledged_at < updated_at, true) GROUP BY store, fr_number
)
SELECT store, 'failed_run' AS code, dag_id AS subject, 1::bigint AS number, coalesce(finished_at, ends_by) AS since,
       CASE WHEN finished_at IS NULL
       THEN 'It did not end in its time, so Airflow ended it: read the logs of its tasks. Nothing is half done; the next run goes on.'
       ELSE 'Read failure in fba.run and the log of summarise; the runbook has the remedy of each error.' END AS remedy
FROM fba.run AS r
WHERE (outcome = 'failed' AND finished_at IS NOT NULL OR outcome IS NULL AND ends_by < statement_timestamp())
  AND started_at > statement_timestamp() - interval '7 days' AND NOT EXISTS (
    SELECT FROM fba.run AS later WHERE later.dag_id = r.dag_id AND later.store = r.store
      AND later.started_at > r.started_at AND later.finished_at IS NOT NULL AND later.outcome IN ('success', 'failed'))
UNION ALL
SELECT store, 'stale_stock', NULL, 1, as_of,
       CASE WHEN from_to_come
       THEN 'How old the stock is, is not known: its reports were asked for at a time that is still to come, so the clock of the database was ahead. Synchronise it (NTP); the next run of fba_get_inventory asks for new reports.'
       ELSE 'No newer reports were applied: see the last runs of fba_get_inventory, whether it is paused, and whether Amazon makes reports.' END
FROM stock WHERE from_to_come OR as_of < statement_timestamp() - make_interval(secs => max_stock_age_hours * 3600)
UNION ALL
SELECT store, 'refused_stock', report_id, number, since,
       'Compare with Seller Central; if the stock really is gone, run fba_get_inventory with accept_zeroed_stock.'
FROM refused
UNION ALL
SELECT store, 'unconfirmed_skus', NULL, count(*), min(unconfirmed_since),
       'No report states these SKUs any more; they keep their quantity until a later pair of reports agrees. Look up those with most units.'
FROM fba.global_inventory_pool WHERE unconfirmed_since IS NOT NULL GROUP BY store
UNION ALL
SELECT store, code, NULL, number, finished_at, CASE code
       WHEN 'zeroed_skus' THEN 'SKUs became 0 although no report stated it: compare with Seller Central.'
       WHEN 'vanished_skus' THEN 'SKUs with stock are in no report any more: compare with Seller Central.'
       WHEN 'units_jumped' THEN 'The units in stock changed implausibly: compare some SKUs with Seller Central.'
       WHEN 'report_drift' THEN 'A report has other columns or far more or fewer rows than before; the run''s summary says which.'
       WHEN 'rejected_lines' THEN 'See fba.rejected_row.'
       WHEN 'conflicting_skus' THEN 'Listings contradict each other; the smallest quantity was taken.'
       WHEN 'shared_fnsku' THEN 'These SKUs draw on the same units at Amazon: do not offer the sum of their quantities.'
       ELSE 'Synchronise the clocks of the database and the workers (NTP).' END
FROM recent
UNION ALL
SELECT store, status, fr_number, 1, coalesce(resolved_at, sent_at, created_at),
       CASE WHEN starts_with(status_reason, 'FR number already used') THEN
       'Look in Seller Central at the order under this number. Insert the request under another number, and set acknowledged_at here.'
       WHEN fba.is_told_as_shipped(status_reason) THEN
       'A part of it is on its way: insert what is missing as a new request, or refund it, and set acknowledged_at.'
       ELSE 'Put right what status_reason says, then set status to pending; or set acknowledged_at.' END
FROM fba.fulfillment_request
WHERE status IN ('invalid', 'rejected') AND coalesce(acknowledged_at < resolved_at, acknowledged_at IS NULL)
  AND NOT (status = 'invalid' AND cancel_requested_at IS NOT NULL  -- which is what somebody wanted
           AND NOT starts_with(status_reason, 'Amazon has an order of this number'))
UNION ALL
SELECT r.store, CASE WHEN fba.is_stuck(r.store, r.fr_number) THEN 'stuck' ELSE 'unknown' END, r.fr_number, 1,
       coalesce(r.unknown_since, r.sent_at, r.created_at),
       CASE WHEN fba.is_stuck(r.store, r.fr_number)
       THEN 'Look in Seller Central under this number and set status by hand: no run decides it. status_reason says why.'
       ELSE 'Nothing yet: the runs go on looking for it among Amazon''s orders.' END
FROM fba.fulfillment_request AS r
WHERE r.status = 'unknown' OR r.status IN ('sending', 'submitted') AND fba.is_stuck(r.store, r.fr_number)
UNION ALL
SELECT store, 'waiting_long', fr_number, 1, since,
       CASE WHEN not_released THEN 'Amazon holds it and does not release it; status_reason says why. Release it in Seller Central, or cancel it.'
       WHEN never_seen THEN 'No run of fba_send_fulfillment_requests has looked at it: is the DAG paused, or does it fail?'
       ELSE 'Read waiting_reason, and see the last runs of fba_send_fulfillment_requests.' END
FROM (
    SELECT store, fr_number, status = 'pending' AND waiting_reason IS NULL AS never_seen, false AS not_released,
           CASE WHEN status = 'pending' AND waiting_reason IS NULL THEN greatest(created_at, inserted_at)
                ELSE coalesce(waiting_since, created_at) END AS since
    FROM fba.fulfillment_request
    WHERE status = 'sending'
       OR status = 'pending' AND (waiting_since IS NOT NULL OR coalesce(starts_with(waiting_reason, 'ready'), true))
    UNION ALL
    SELECT store, fr_number, false, true, coalesce(sent_at, created_at)
    FROM fba.fulfillment_request WHERE status = 'submitted' AND starts_with(status_reason, 'not released: ')
) AS waiting
WHERE since < statement_timestamp() - interval '6 hours'
UNION ALL
SELECT f.store, 'slow_feed', m.fr_number, 1, f.submit_started_at,
       'Amazon has not finished feed ' || f.feed_id || '; ask Amazon''s support with this id. Other requests go out meanwhile.'
FROM fba.feed AS f JOIN fba.feed_message AS m USING (store, document_id) JOIN fba.fulfillment_request AS r USING (store, fr_number)
WHERE f.settled_at IS NULL AND f.feed_id IS NOT NULL AND f.submit_started_at < statement_timestamp() - interval '4 hours'
  AND r.status = 'submitted' AND r.claim_id = f.claim_id
UNION ALL
SELECT store, 'not_cancelled', fr_number, 1, cancel_requested_at, CASE WHEN starts_with(status_reason, 'not cancelled: ')
       THEN 'Amazon refused to cancel; status_reason says why. Ask the buyer; then take cancel_requested_at back, or set acknowledged_at.'
       ELSE 'It is not cancelled yet: see status_reason and the last runs of fba_send_fulfillment_requests, or cancel it in Seller Central; then set acknowledged_at.' END
FROM fba.fulfillment_request
WHERE cancel_requested_at IS NOT NULL AND coalesce(acknowledged_at < cancel_requested_at, true)
  AND (status IN ('accepted', 'unknown') AND starts_with(status_reason, 'not cancelled')
    OR status IN ('pending', 'submitted', 'accepted') AND cancel_requested_at < statement_timestamp() - interval '6 hours')
UNION ALL
SELECT store, CASE WHEN fba.is_told_as_shipped(status_reason) THEN 'cancelled_but_shipped' ELSE 'cancelled_by_amazon' END, fr_number, 1, resolved_at,
       CASE WHEN fba.is_told_as_shipped(status_reason)
       THEN 'Units of it have left Amazon although it is cancelled: ask the buyer to refuse the parcel or to pay; then set acknowledged_at.'
       ELSE 'Amazon cancelled it, or somebody in Seller Central: send it again (fba.resend), or tell the buyer; then set acknowledged_at.' END
FROM fba.fulfillment_request
WHERE status = 'cancelled' AND status_reason IS NOT NULL AND sent_at IS NOT NULL
  AND coalesce(acknowledged_at < resolved_at, acknowledged_at IS NULL)
  AND (cancel_requested_at IS NULL OR fba.is_told_as_shipped(status_reason))
UNION ALL
SELECT store, 'partly_shipped', fr_number, 1, amazon_order_asked_at,
       'Amazon ships no more of it than it has: insert what is missing as a new request, or refund it, and set acknowledged_at.'
FROM fba.fulfillment_request
WHERE status = 'accepted' AND amazon_order_status = 'CompletePartialled' AND coalesce(acknowledged_at < amazon_order_asked_at, true)
UNION ALL
SELECT r.store, 'overdue', r.fr_number, p.open, coalesce(least(r.sent_at, r.resolved_at), r.created_at),
       'Accepted more than a day ago and not all shipped: amazon_order_status is Amazon''s status of the order.'
FROM fba.fulfillment_request AS r CROSS JOIN LATERAL (
    SELECT sum(p.open)::bigint AS open FROM fba.fulfillment_progress AS p WHERE p.store = r.store AND p.fr_number = r.fr_number
) AS p
WHERE r.status = 'accepted' AND r.amazon_order_asked_at IS NOT NULL AND p.open > 0
  AND NOT EXISTS (SELECT FROM fba.wholly_shipped AS w WHERE w.store = r.store AND w.fr_number = r.fr_number)
  AND coalesce(r.amazon_order_status, '') <> 'CompletePartialled'
  AND coalesce(least(r.sent_at, r.resolved_at), r.created_at) < statement_timestamp() - interval '24 hours'
UNION ALL
SELECT store, 'late', fr_number, max(number), min(since),
       coalesce(min(remedy) FILTER (WHERE promise_broken), min(remedy))
FROM late GROUP BY store, fr_number
UNION ALL
SELECT store, 'undeliverable', fr_number, count(*), min(updated_at),
       'Lost, destroyed or on its way back: insert the units as a new request, or refund, and set acknowledged_at.'
FROM undelivered WHERE status = 'UNDELIVERABLE' AND coalesce(acknowledged_at < updated_at, true) GROUP BY store, fr_number
UNION ALL
SELECT store, 'no_movement', fr_number, count(*), min(changed_at),
       'Nothing has changed at Amazon for three days: follow the tracking number; ask Amazon''s support if it stays so.'
FROM undelivered
WHERE coalesce(status NOT IN ('UNDELIVERABLE', 'EXPIRED'), true) AND changed_at < seen_at - interval '3 days' GROUP BY store, fr_number
UNION ALL
SELECT store, 'claim_due', fr_number, count(*), min(arrives_at) + interval '7 days',
       'Not delivered a week after the promised arrival: claim the units from Amazon in Seller Central, and set acknowledged_at.'
FROM undelivered
WHERE arrives_at < seen_at - interval '7 days' AND coalesce(acknowledged_at < arrives_at + interval '7 days', true) GROUP BY store, fr_number
UNION ALL
SELECT t.store, 'witnesses_differ', t.fr_number, 1, t.differs_since,
       'For a week the shipments report and Amazon''s order have told different parcels or units: compare shipped_by_report with shipped_by_order in fba.fulfillment_progress, and look in Seller Central.'
FROM fba.tracked_order AS t LEFT JOIN fba.order_cursor AS c USING (store)
WHERE t.differs_since < greatest(c.read_at, t.read_at) - interval '7 days' AND EXISTS (
    SELECT FROM fba.report AS p WHERE p.store = t.store AND p.report_type = 'GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL'
      AND p.applied_at IS NOT NULL AND p.requested_at > t.differs_since + interval '7 days')
UNION ALL
SELECT store, 'of_no_store', fr_number, 1, created_at, 'Correct store, or add the store to stores.yaml: no run sends this.'
FROM fba.fulfillment_request AS r
WHERE status IN ('pending', 'sending', 'submitted', 'unknown') AND EXISTS (SELECT FROM fba.store)
  AND NOT EXISTS (SELECT FROM fba.store AS s WHERE s.store = r.store)
UNION ALL
SELECT s.store, 'credential_expires', c.subject, 1, c.expires_at - interval '30 days',
       CASE WHEN c.expires_at < statement_timestamp() THEN 'It has expired on ' ELSE 'It expires on ' END
           || to_char(c.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') || ': ' || c.remedy
FROM fba.store AS s CROSS JOIN LATERAL (VALUES
    ('client secret', s.client_secret_expires_at,
     'make a new client secret for your application, put it into the connection, and the day into client_secret_created.'),
    ('refresh token', s.refresh_token_expires_at,
     'authorise your application again, put the new refresh token into the connection, and the day into authorized_at.')
) AS c (subject, expires_at, remedy)
WHERE c.expires_at < statement_timestamp() + interval '30 days'
UNION ALL
SELECT store, 'needs_approval', fr_number, 1::bigint, approval_asked_at,
       'Read waiting_reason and fba.fulfillment_quote; set approved_at to send it, or cancel_requested_at.'
FROM fba.fulfillment_request WHERE status = 'pending' AND approval_asked_at IS NOT NULL AND approved_at IS NULL
UNION ALL
SELECT r.store, 'hold_lapses', r.fr_number, 1, o.answered_at + interval '13 days',
       'Amazon holds its stock for 14 days and then cancels the order: release it (run fba_send_fulfillment_requests with ignore_hold and ignore_business_hours), or cancel it.'
FROM fba.outbound_order AS o JOIN fba.fulfillment_request AS r ON r.store = o.store AND r.fr_number = o.fr_number AND r.claim_id = o.claim_id
WHERE o.settled_at IS NULL AND o.held AND r.status = 'submitted' AND o.answered_at < statement_timestamp() - interval '13 days'
UNION ALL
SELECT r.store, 'blocked_carrier_used', r.fr_number,
       count(DISTINCT CASE WHEN by_report THEN coalesce(fba.reported_parcel(r.store, r.fr_number, p.tracking_number), p.key) ELSE p.key END),
       min(p.left_at),
       'Amazon shipped it with its own carrier although the request blocks that: tell the channel, and open a case with Amazon. Then set acknowledged_at.'
FROM fba.fulfillment_request AS r JOIN (
    SELECT store, coalesce(fr_number, merchant_order_id) AS fr_number, item_key AS key, true AS by_report, carrier, tracking_number, ship_date AS left_at
    FROM fba.shipment_item
    UNION ALL
    SELECT store, fr_number, package_key, false, carrier, tracking_number, coalesce(ship_date, first_seen_at)
    FROM fba.package WHERE fba.has_left(status, ship_date)
) AS p ON p.store = r.store AND p.fr_number = r.fr_number
WHERE (fba.is_amazon_logistics(p.carrier, fba.parcel_number(p.tracking_number)) OR p.carrier ~* '(^|[^a-z])amz[nl]') AND EXISTS (
    SELECT FROM fba.outbound_order AS o
    WHERE o.store = r.store AND o.fr_number = r.fr_number AND o.intent_at IS NOT NULL AND 'BLOCK_AMZL' = ANY (o.features))
GROUP BY r.store, r.fr_number, r.acknowledged_at
HAVING coalesce(r.acknowledged_at < min(p.left_at), true);
COMMENT ON VIEW fba.needs_attention_at_once IS
    'fba.needs_attention without low_stock and out_of_stock, for which four weeks of sales must be counted.';

CREATE OR REPLACE VIEW fba.needs_attention AS
SELECT store, code, subject, number, since, remedy FROM fba.needs_attention_at_once
UNION ALL
SELECT o.store, l.code, NULL, count(*), min(o.updated_at),
       'fba.stock_outlook names them, with the units sold a day and the days of cover. '
           || CASE WHEN count(o.inbound) = 0 THEN 'What is inbound is not known: inventory.breakdown of stores.yaml reads it.'
                   ELSE count(*) FILTER (WHERE o.inbound > 0) || ' of them have units inbound.' END
FROM fba.stock_outlook AS o LEFT JOIN fba.store AS s ON s.store = o.store
JOIN (VALUES ('low_stock'), ('out_of_stock')) AS l (code)
    ON CASE l.code WHEN 'out_of_stock' THEN o.fba_units = 0 ELSE o.fba_units > 0 AND o.fba_units / o.units_a_day < s.low_stock_days END
WHERE o.units_a_day > 0
GROUP BY o.store, l.code;
COMMENT ON VIEW fba.needs_attention IS
    'What needs a person now, one row for each thing, whatever run found it: code, subject, number, since when, and what to do.';

-- What product and Amazon say about a request, for who must not see whom it goes to. Amazon may write a name without its accents and
-- blanks, or only a part of it.
CREATE OR REPLACE VIEW fba.request_words AS
SELECT r.store, r.fr_number, fba.shortened(fba.without_person(left(r.status_reason, 4000), r.ship_to_name, VARIADIC ARRAY[
           r.ship_to_address_1, r.ship_to_address_2, r.ship_to_address_3, r.ship_to_city, r.ship_to_postal_code, r.ship_to_email,
           r.ship_to_phone, r.order_comment, n.plain, regexp_replace(r.ship_to_name, '\s', '', 'g')]
           || regexp_split_to_array(n.plain || ' ' || normalize(r.ship_to_name), '[^[:alpha:]]+')), 600) AS reason
FROM fba.fulfillment_request AS r CROSS JOIN LATERAL (
    SELECT translate(regexp_replace(normalize(r.ship_to_name, NFKD), '[\u0300-\u036f]', '', 'g'), 'ıłŁøØđĐ', 'ilLoOdD') AS plain
) AS n;
COMMENT ON VIEW fba.request_words IS 'status_reason of each request without the buyer''s name, address, e-mail and telephone number.';

CREATE OR REPLACE VIEW fba.feed_message_words AS
SELECT m.store, m.document_id, m.message_id, m.fr_number, fba.shortened(fba.without_person(left(m.description, 4000), r.ship_to_name,
           VARIADIC ARRAY[
           r.ship_to_address_1, r.ship_to_address_2, r.ship_to_address_3, r.ship_to_city, r.ship_to_postal_code, r.ship_to_email,
           r.ship_to_phone, r.order_comment, n.plain, regexp_replace(r.ship_to_name, '\s', '', 'g')]
           || regexp_split_to_array(n.plain || ' ' || normalize(r.ship_to_name), '[^[:alpha:]]+')), 600) AS description
FROM fba.feed_message AS m JOIN fba.fulfillment_request AS r ON r.store = m.store AND r.fr_number = m.fr_number
CROSS JOIN LATERAL (
    SELECT translate(regexp_replace(normalize(r.ship_to_name, NFKD), '[\u0300-\u036f]', '', 'g'), 'ıłŁøØđĐ', 'ilLoOdD') AS plain
) AS n;
COMMENT ON VIEW fba.feed_message_words IS 'What Amazon''s processing report says of each message, without the buyer.';
