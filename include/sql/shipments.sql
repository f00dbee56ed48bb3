-- name: lock_report
-- One task at a time loads a report; others that use the same report wait, and find its rows loaded.
SELECT pg_advisory_xact_lock(hashtext('fba.report_document ' || %(store)s), hashtext(%(report_id)s))

-- name: lock_store
-- Loads of one store run one after another; always taken after lock_report.
SELECT pg_advisory_xact_lock(hashtext('fba.shipment_item'), hashtext(%(store)s))

-- name: create_staging
CREATE TEMPORARY TABLE staged (
    line_number bigint NOT NULL, line_digest bytea, key_without_id text, further_parcel text,
    item_key text GENERATED ALWAYS AS (coalesce(key_without_id, shipment_item_id || coalesce(E'\t' || further_parcel, ''))) STORED, amazon_order_id text, merchant_order_id text, shipment_id text,
    shipment_item_id text, amazon_order_item_id text, merchant_order_item_id text, purchase_date text,
    payments_date text, shipment_date text, reporting_date text, sku text, product_name text, quantity_shipped text,
    currency text, item_price text, item_tax text, shipping_price text, shipping_tax text, gift_wrap_price text,
    gift_wrap_tax text, ship_service_level text, item_promotion_discount text, ship_promotion_discount text, carrier text,
    tracking_number text, estimated_arrival_date text, fulfillment_center_id text, fulfillment_channel text,
    sales_channel text, points_granted text, extra jsonb
) ON COMMIT DROP

-- name: fill_staging
COPY staged ({columns}) FROM STDIN

-- name: reject_unreadable
-- A blank time is unknown; one that is not ISO 8601 must not be guessed (Postgres would accept 1/2/2026, or "now"). A time that no
-- table takes, or an id that no index takes, would stop all rows.
WITH wrong AS (
    SELECT line_number, CASE WHEN NOT {readable_ship_date} THEN {no_ship_date} WHEN {too_long} THEN {long_id} END AS reason
    FROM staged WHERE NOT ({all_readable}) OR {too_long}
), gone AS (
    DELETE FROM staged USING wrong WHERE staged.line_number = wrong.line_number AND reason IS NOT NULL RETURNING staged.line_number, reason
), kept AS (
    UPDATE staged SET extra = coalesce(extra, '{{}}') || {unreadable_texts}, {without_unreadable}
    FROM wrong WHERE staged.line_number = wrong.line_number AND reason IS NULL
)
SELECT line_number, reason FROM gone

-- name: drop_repeats
-- The same row twice in one report, recognised by its id and its parcel's number: the last one counts. A row without a number is
-- of any parcel of its item.
DELETE FROM staged USING (
    SELECT shipment_item_id, max(coalesce(tracking_number, '')) AS a_number,
           max(line_number) FILTER (WHERE coalesce(tracking_number, '') = '') AS last_without
    FROM staged WHERE shipment_item_id <> '' GROUP BY shipment_item_id HAVING count(*) > 1
) AS again
WHERE staged.shipment_item_id = again.shipment_item_id AND CASE WHEN coalesce(staged.tracking_number, '') = ''
    THEN again.a_number <> '' OR staged.line_number <> again.last_without
    ELSE EXISTS (SELECT FROM staged AS later WHERE later.shipment_item_id = staged.shipment_item_id
                   AND later.tracking_number = staged.tracking_number AND later.line_number > staged.line_number) END

-- name: name_further_parcels
-- An item in several parcels has a row for each: the first number has the item's id as key, as a single one has, the others theirs.
UPDATE staged SET further_parcel = staged.tracking_number
FROM (
    SELECT shipment_item_id, min(tracking_number) AS first FROM staged WHERE shipment_item_id <> ''
    GROUP BY shipment_item_id HAVING count(*) > 1
) AS several
WHERE staged.shipment_item_id = several.shipment_item_id AND staged.tracking_number <> several.first

-- name: name_known_parcels
UPDATE staged SET further_parcel = staged.tracking_number
FROM fba.amazon_fulfilled_shipments_report AS p
WHERE p.store = %(store)s AND position(E'\t' IN p.item_key) > 0
  AND staged.shipment_item_id = p.shipment_item_id AND staged.tracking_number = p.tracking_number AND staged.further_parcel IS NULL
  AND p.item_key = p.shipment_item_id || E'\t' || p.tracking_number

-- name: name_rows
-- Rows without an id: a hash of what distinguishes them, and their ordinal among equal ones in this report.
UPDATE staged SET key_without_id = encode(sha256(convert_to(named.name || E'\t' || named.n, 'UTF8')), 'hex')
FROM (
    SELECT line_number, name, row_number() OVER (PARTITION BY name ORDER BY line_number) AS n
    FROM (
        SELECT line_number, fba.shipment_group(amazon_order_id, amazon_order_item_id, sku, shipment_id, tracking_number,
                                               shipment_date::timestamptz) AS name
        FROM staged WHERE coalesce(shipment_item_id, '') = ''
    ) AS without_id
) AS named
WHERE named.line_number = staged.line_number

-- name: drop_known_by_id
-- A row without an id is redundant where its order item, shipment and tracking number are known with one.
DELETE FROM staged AS s USING (
    SELECT amazon_order_id, fba.shipment_group(amazon_order_id, amazon_order_item_id, sku, shipment_id, tracking_number,
                                               shipment_date::timestamptz) AS name
    FROM staged WHERE key_without_id IS NULL AND amazon_order_id IN (SELECT amazon_order_id FROM staged WHERE key_without_id IS NOT NULL)
    UNION ALL
    SELECT p.amazon_order_id, fba.shipment_group(p.amazon_order_id, p.amazon_order_item_id, p.sku, p.shipment_id,
                                                 p.tracking_number, p.shipment_date)
    FROM fba.shipment_item AS i JOIN fba.amazon_fulfilled_shipments_report AS p USING (store, item_key)
    WHERE i.store = %(store)s AND i.order_id IN (SELECT amazon_order_id FROM staged WHERE key_without_id IS NOT NULL)
      AND p.shipment_item_id <> ''
) AS known
WHERE s.key_without_id IS NOT NULL AND s.amazon_order_id = known.amazon_order_id
  AND known.name = fba.shipment_group(s.amazon_order_id, s.amazon_order_item_id, s.sku, s.shipment_id, s.tracking_number,
                                      s.shipment_date::timestamptz)

-- name: replace_rows_without_id
WITH replaced AS (
    DELETE FROM fba.amazon_fulfilled_shipments_report AS p USING staged AS s
    WHERE p.store = %(store)s AND coalesce(p.shipment_item_id, '') = '' AND p.amazon_order_id = s.amazon_order_id
      AND s.shipment_item_id <> ''
      AND fba.shipment_group(p.amazon_order_id, p.amazon_order_item_id, p.sku, p.shipment_id, p.tracking_number, p.shipment_date)
        = fba.shipment_group(s.amazon_order_id, s.amazon_order_item_id, s.sku, s.shipment_id, s.tracking_number,
                             s.shipment_date::timestamptz)
    RETURNING p.store, p.item_key
)
DELETE FROM fba.shipment_item AS i USING replaced WHERE i.store = replaced.store AND i.item_key = replaced.item_key

-- name: analyze_staging
-- The columns that are joined or filtered: all of them would take a second more.
ANALYZE staged (line_number, item_key, key_without_id, amazon_order_id, shipment_item_id, merchant_order_id)

-- name: insert_new_items
-- The same rows as insert_new, and before it: those that the parsed copy does not have yet.
INSERT INTO fba.shipment_item (store, item_key, order_id, merchant_order_id, fr_number, sku, quantity, carrier,
                               service_level, tracking_number, ship_date, shipment_id, report_requested_at)
SELECT {store}, s.item_key, s.amazon_order_id, nullif(s.merchant_order_id, ''),
       CASE WHEN starts_with(s.amazon_order_id, 'S0') OR r.fr_number IS NOT NULL THEN nullif(s.merchant_order_id, '') END,
       s.sku, {quantity}, nullif(s.carrier, ''), nullif(s.ship_service_level, ''), nullif(s.tracking_number, ''),
       {ship_date}, nullif(s.shipment_id, ''), {requested_at}
FROM staged AS s LEFT JOIN fba.fulfillment_request AS r ON r.store = {store} AND r.fr_number = s.merchant_order_id
WHERE NOT EXISTS (
    SELECT FROM fba.amazon_fulfilled_shipments_report AS p WHERE p.store = {store} AND p.item_key = s.item_key
)

-- name: insert_new
INSERT INTO fba.amazon_fulfilled_shipments_report (store, item_key, report_id, report_requested_at, line_number, line_digest, {columns})
SELECT {store}, s.item_key, {report_id}, {requested_at}, s.line_number, s.line_digest, {staged_values}
FROM staged AS s
WHERE NOT EXISTS (
    SELECT FROM fba.amazon_fulfilled_shipments_report AS p WHERE p.store = {store} AND p.item_key = s.item_key
)

-- name: update_changed
-- Only rows in which a later report differs. A row that a report confirms is not touched, so whether a report asked for
-- after ours has confirmed it follows from the windows of the reports applied.
UPDATE fba.amazon_fulfilled_shipments_report AS p SET
    report_id = {report_id}, report_requested_at = {requested_at}, line_number = s.line_number,
    line_digest = s.line_digest, {assignments}
FROM staged AS s
WHERE p.store = {store} AND p.item_key = s.item_key
  AND ({table_values}) IS DISTINCT FROM ({staged_values})
  AND ((p.report_requested_at, length(p.report_id), p.report_id) < ({requested_at}, length({report_id}), {report_id})
       OR p.report_requested_at > clock_timestamp())  -- of a clock that was ahead: a time that is still to come is no age
  AND NOT EXISTS (
    SELECT FROM fba.report AS later
    WHERE later.store = p.store AND later.report_type = {report_type} AND later.status = 'DONE' AND later.applied_at IS NOT NULL
      AND later.requested_at <= clock_timestamp()
      AND (later.requested_at, length(later.report_id), later.report_id) > ({requested_at}, length({report_id}), {report_id})
      AND coalesce(p.reporting_date, p.shipment_date) BETWEEN later.data_start AND later.data_end
  )
RETURNING p.*

-- name: update_items
WITH w AS ({update_changed})
UPDATE fba.shipment_item AS i SET
    order_id = w.amazon_order_id, merchant_order_id = nullif(w.merchant_order_id, ''),
    fr_number = CASE WHEN starts_with(w.amazon_order_id, 'S0') OR EXISTS (
        SELECT FROM fba.fulfillment_request AS r WHERE r.store = w.store AND r.fr_number = w.merchant_order_id
    ) THEN nullif(w.merchant_order_id, '') END,
    sku = w.sku, quantity = w.quantity_shipped, carrier = nullif(w.carrier, ''),
    service_level = nullif(w.ship_service_level, ''), tracking_number = nullif(w.tracking_number, ''),
    ship_date = w.shipment_date, shipment_id = nullif(w.shipment_id, ''), report_requested_at = w.report_requested_at
FROM w WHERE i.store = w.store AND i.item_key = w.item_key

-- name: attach_late_requests
-- A request that was inserted only after Amazon had shipped it.
UPDATE fba.shipment_item AS i SET fr_number = r.fr_number FROM fba.fulfillment_request AS r
WHERE i.store = %(store)s AND i.fr_number IS NULL AND i.merchant_order_id IS NOT NULL
  AND r.store = i.store AND r.fr_number = i.merchant_order_id

-- name: tell_shipped
-- Requests that have ended, of which this report has units.
UPDATE fba.fulfillment_request AS r SET status_reason = fba.shipped_all_the_same(r.status_reason), acknowledged_at = NULL
FROM (SELECT DISTINCT merchant_order_id AS number FROM staged WHERE merchant_order_id <> '') AS s
WHERE r.store = %(store)s AND r.fr_number = s.number AND r.status IN ('cancelled', 'rejected')
  AND NOT fba.is_told_as_shipped(r.status_reason) AND fba.has_shipped(r.store, r.fr_number)

-- name: count_staged
SELECT
    count(*) AS rows, count(r.fr_number) AS of_requests,
    count(*) FILTER (WHERE starts_with(s.amazon_order_id, 'S0') AND r.fr_number IS NULL) AS without_request,
    count(*) FILTER (WHERE p.sku IS NULL) AS unknown_sku
FROM staged AS s
LEFT JOIN fba.fulfillment_request AS r ON r.store = %(store)s AND r.fr_number = s.merchant_order_id
LEFT JOIN fba.global_inventory_pool AS p ON p.store = %(store)s AND p.sku = s.sku

-- name: known_lines
-- Digests of the rows that a report of a window may repeat, many in one value. Shipments are reported days later; what is
-- older still is compared all the same.
SELECT count(*) AS number, string_agg(line_digest, ''::bytea) AS digests FROM fba.amazon_fulfilled_shipments_report
WHERE store = %(store)s AND line_digest IS NOT NULL
  AND shipment_date BETWEEN coalesce(%(data_start)s, '-infinity'::timestamptz) - interval '60 days' AND coalesce(%(data_end)s, 'infinity'::timestamptz)

-- name: count_known_orders
SELECT coalesce(sum(o.number) FILTER (WHERE r.fr_number IS NOT NULL), 0)::bigint AS of_requests,
       coalesce(sum(o.number) FILTER (WHERE o.is_multi_channel AND r.fr_number IS NULL), 0)::bigint AS without_request
FROM unnest(%(fr_numbers)s::text[], %(multi_channel)s::boolean[], %(numbers)s::bigint[]) AS o (fr_number, is_multi_channel, number)
LEFT JOIN fba.fulfillment_request AS r ON r.store = %(store)s AND r.fr_number = o.fr_number

-- name: count_known_skus
SELECT coalesce(sum(s.number), 0)::bigint AS unknown_sku
FROM unnest(%(skus)s::text[], %(numbers)s::bigint[]) AS s (sku, number)
WHERE NOT EXISTS (SELECT FROM fba.global_inventory_pool AS p WHERE p.store = %(store)s AND p.sku = s.sku)

-- name: clear_staging
TRUNCATE staged

-- name: count_without_id
SELECT count(*) FROM staged WHERE coalesce(shipment_item_id, '') = ''

-- name: requested_at
SELECT report_id, requested_at FROM fba.report WHERE store = %(store)s AND report_id = ANY (%(report_ids)s)

-- name: rows_in_window
SELECT count(*) FROM fba.amazon_fulfilled_shipments_report
WHERE store = %(store)s AND coalesce(reporting_date, shipment_date) BETWEEN %(data_start)s AND %(data_end)s

-- name: to_follow_up
-- Accepted a day ago or longer, not all shipped, not looked up within a day, and sent by this seller.
SELECT r.fr_number FROM fba.fulfillment_request AS r
WHERE r.store = %(store)s AND r.status = 'accepted' AND coalesce(r.seller_id, %(seller_id)s) = %(seller_id)s
  AND coalesce(least(r.sent_at, r.resolved_at), r.created_at) < clock_timestamp() - interval '24 hours'
  AND coalesce(r.amazon_order_asked_at < clock_timestamp() - interval '24 hours', true)
  AND coalesce(r.amazon_order_status, '') <> ALL (%(final)s)
  AND EXISTS (SELECT FROM fba.fulfillment_progress AS p WHERE p.store = r.store AND p.fr_number = r.fr_number AND p.open > 0)
ORDER BY r.amazon_order_asked_at NULLS FIRST, r.fr_number LIMIT %(most)s

-- name: record_order_status
UPDATE fba.fulfillment_request SET amazon_order_status = coalesce(%(order_status)s, amazon_order_status), amazon_order_asked_at = clock_timestamp(),
    status = coalesce(%(status)s, status), status_reason = coalesce(%(reason)s, status_reason)
WHERE store = %(store)s AND fr_number = %(fr_number)s AND status = 'accepted'

-- name: overdue
SELECT p.fr_number, sum(p.open)::bigint AS units
FROM fba.fulfillment_progress AS p JOIN fba.fulfillment_request AS r USING (store, fr_number)
WHERE p.store = %(store)s AND r.status = 'accepted'
  AND coalesce(least(r.sent_at, r.resolved_at), r.created_at) < clock_timestamp() - interval '24 hours'
  AND coalesce(r.amazon_order_status, '') <> 'CompletePartialled'
GROUP BY p.fr_number, r.created_at HAVING sum(p.open) > 0 ORDER BY r.created_at, p.fr_number

-- name: cursor
SELECT read_until, without_list_since, clock_timestamp() AS now FROM (SELECT) AS one
LEFT JOIN fba.order_cursor ON store = %(store)s

-- name: move_cursor
-- Never back, but for one that is still to come: it was set by a clock that went wrong.
INSERT INTO fba.order_cursor AS c (store, read_until, read_at) VALUES (%(store)s, %(read_until)s, %(read_at)s)
ON CONFLICT (store) DO UPDATE SET
    read_until = CASE WHEN c.read_until > clock_timestamp() THEN excluded.read_until ELSE greatest(c.read_until, excluded.read_until) END,
    read_at = greatest(c.read_at, excluded.read_at), without_list_since = NULL

-- name: record_without_list
-- Told once: the row comes back only where it was not known.
INSERT INTO fba.order_cursor AS c (store, read_until, without_list_since) VALUES (%(store)s, %(read_until)s, clock_timestamp())
ON CONFLICT (store) DO UPDATE SET without_list_since = excluded.without_list_since WHERE c.without_list_since IS NULL
RETURNING without_list_since

-- name: requests_of_orders
-- The requests of these numbers, with what they order and what is known of their orders.
SELECT r.fr_number, r.status, r.seller_id, r.claim_id, r.sent_at, r.amazon_order_status, t.read_at, t.amazon_updated_at,
       EXISTS (SELECT FROM fba.outbound_order AS o WHERE o.claim_id = r.claim_id AND o.held AND o.settled_at IS NULL) AS held,
       EXISTS (SELECT FROM fba.outbound_order AS o
               WHERE o.store = r.store AND o.fr_number = r.fr_number AND o.lapsed_at IS NOT NULL) AS lapsed,
       (SELECT jsonb_object_agg(i.sku, i.units) FROM (
           SELECT sku, sum(quantity) AS units FROM fba.fulfillment_request_item AS i
           WHERE i.store = r.store AND i.fr_number = r.fr_number GROUP BY sku) AS i) AS ordered,
       (SELECT jsonb_agg(to_jsonb(p)) FROM fba.package AS p WHERE p.store = r.store AND p.fr_number = r.fr_number) AS packages
FROM fba.fulfillment_request AS r LEFT JOIN fba.tracked_order AS t USING (store, fr_number)
WHERE r.store = %(store)s AND r.fr_number = ANY(%(numbers)s)

-- name: keep_orders
INSERT INTO fba.tracked_order AS t (store, fr_number, read_at, changed_at, amazon_updated_at, arrives_by, finished)
SELECT %(store)s, n.fr_number, %(read_at)s, CASE WHEN n.moved THEN clock_timestamp() ELSE coalesce(o.changed_at, clock_timestamp()) END,
       coalesce(n.updated_at, o.amazon_updated_at), n.arrives_by, n.finished
FROM jsonb_to_recordset(%(orders)s) AS n (fr_number text, updated_at timestamptz, arrives_by timestamptz, finished boolean, moved boolean)
LEFT JOIN fba.tracked_order AS o ON o.store = %(store)s AND o.fr_number = n.fr_number
ON CONFLICT (store, fr_number) DO UPDATE SET read_at = excluded.read_at, changed_at = excluded.changed_at,
    amazon_updated_at = excluded.amazon_updated_at, arrives_by = excluded.arrives_by, finished = excluded.finished,
    compared = t.compared AND t.changed_at = excluded.changed_at

-- name: keep_packages
-- What an answer leaves out keeps its value; a row that says nothing new is not written.
INSERT INTO fba.package AS p (store, fr_number, package_key, carrier, tracking_number, tracking_url, amazon_tracking_number, package_id,
                              shipment_id, status, ship_date, arrives_at, delivered_at)
SELECT %(store)s, n.* FROM jsonb_to_recordset(%(packages)s) AS n (
    fr_number text, package_key text, carrier text, tracking_number text, tracking_url text, amazon_tracking_number text, package_id text,
    shipment_id text, status text, ship_date timestamptz, arrives_at timestamptz, delivered_at timestamptz)
ON CONFLICT (store, fr_number, package_key) DO UPDATE SET
    carrier = coalesce(excluded.carrier, p.carrier), tracking_number = coalesce(excluded.tracking_number, p.tracking_number),
    tracking_url = coalesce(excluded.tracking_url, p.tracking_url),
    amazon_tracking_number = coalesce(excluded.amazon_tracking_number, p.amazon_tracking_number),
    package_id = coalesce(excluded.package_id, p.package_id), shipment_id = coalesce(excluded.shipment_id, p.shipment_id),
    status = coalesce(excluded.status, p.status), ship_date = coalesce(excluded.ship_date, p.ship_date),
    arrives_at = coalesce(excluded.arrives_at, p.arrives_at),
    delivered_at = CASE WHEN coalesce(excluded.status, p.status) = 'DELIVERED' THEN coalesce(excluded.delivered_at, p.delivered_at) END,
    updated_at = clock_timestamp()
WHERE (p.carrier, p.tracking_number, p.tracking_url, p.amazon_tracking_number, p.package_id, p.shipment_id, p.status, p.ship_date,
       p.arrives_at, p.delivered_at)
    IS DISTINCT FROM (
       coalesce(excluded.carrier, p.carrier), coalesce(excluded.tracking_number, p.tracking_number),
       coalesce(excluded.tracking_url, p.tracking_url), coalesce(excluded.amazon_tracking_number, p.amazon_tracking_number),
       coalesce(excluded.package_id, p.package_id), coalesce(excluded.shipment_id, p.shipment_id), coalesce(excluded.status, p.status),
       coalesce(excluded.ship_date, p.ship_date), coalesce(excluded.arrives_at, p.arrives_at),
       CASE WHEN coalesce(excluded.status, p.status) = 'DELIVERED' THEN coalesce(excluded.delivered_at, p.delivered_at) END)
RETURNING p.fr_number, p.status, (p.xmax = 0) AS is_new

-- name: keep_package_items
WITH told AS (
    SELECT fr_number, package_key, sku, quantity
    FROM jsonb_to_recordset(%(items)s) AS n (fr_number text, package_key text, sku text, quantity bigint)
), gone AS (
    DELETE FROM fba.package_item AS i USING (SELECT DISTINCT fr_number, package_key FROM told) AS n
    WHERE i.store = %(store)s AND i.fr_number = n.fr_number AND i.package_key = n.package_key
      AND NOT EXISTS (SELECT FROM told AS t WHERE t.fr_number = i.fr_number AND t.package_key = i.package_key AND t.sku = i.sku)
    RETURNING i.fr_number
), kept AS (
    INSERT INTO fba.package_item AS i (store, fr_number, package_key, sku, quantity)
    SELECT %(store)s, fr_number, package_key, sku, quantity FROM told
    ON CONFLICT (store, fr_number, package_key, sku) DO UPDATE SET quantity = excluded.quantity WHERE i.quantity <> excluded.quantity
    RETURNING i.fr_number
)
UPDATE fba.tracked_order AS t SET compared = false
FROM (SELECT fr_number FROM gone UNION SELECT fr_number FROM kept) AS changed
WHERE t.store = %(store)s AND t.fr_number = changed.fr_number AND t.compared

-- name: remove_cancelled_packages
-- Parcels of shipments that Amazon has cancelled, unless they had left it before.
DELETE FROM fba.package AS p
USING jsonb_to_recordset(%(cancelled)s) AS n (fr_number text, shipment_id text)
WHERE p.store = %(store)s AND p.fr_number = n.fr_number AND p.shipment_id = n.shipment_id AND NOT fba.has_left(p.status, p.ship_date)

-- name: record_planned
INSERT INTO fba.request_event (store, fr_number, what, source)
SELECT %(store)s, number, 'planned', 'order' FROM unnest(%(numbers)s::text[]) AS planned (number)
ON CONFLICT DO NOTHING

-- name: record_told_statuses
-- Of accepted requests: Amazon's status of the order, and where it ends the request, that. An end from before it was last sent
-- is that of an earlier order of its number.
UPDATE fba.fulfillment_request AS r SET amazon_order_status = n.order_status, amazon_order_asked_at = %(read_at)s,
    status = coalesce(n.status, r.status), status_reason = CASE WHEN n.status IS NULL THEN r.status_reason ELSE n.reason END
FROM jsonb_to_recordset(%(statuses)s) AS n (fr_number text, order_status text, status text, reason text, updated_at timestamptz)
WHERE r.store = %(store)s AND r.fr_number = n.fr_number AND r.status = 'accepted'
  AND (r.amazon_order_status IS DISTINCT FROM n.order_status OR n.status IS NOT NULL)
  AND (n.status IS NULL OR coalesce(n.updated_at > r.sent_at - interval '1 hour', true))
RETURNING r.fr_number, r.status

-- name: orders_to_ask
-- Requests that Amazon has, that are not finished, and whose orders nobody has told us anything about for so long.
SELECT r.fr_number
FROM fba.fulfillment_request AS r LEFT JOIN fba.tracked_order AS t USING (store, fr_number)
WHERE r.store = %(store)s AND r.status IN ('accepted', 'submitted', 'unknown') AND coalesce(r.seller_id, %(seller_id)s) = %(seller_id)s
  AND coalesce(NOT t.finished, true)
  AND coalesce(t.read_at, r.sent_at, r.resolved_at, r.inserted_at) < clock_timestamp() - make_interval(secs => %(seconds)s)
  AND coalesce(r.sent_at, r.resolved_at, r.inserted_at) > clock_timestamp() - interval '60 days'
ORDER BY t.read_at NULLS FIRST, r.fr_number LIMIT %(most)s

-- name: record_not_shown
-- Amazon was asked and said nothing: it is not asked again before its turn.
INSERT INTO fba.tracked_order AS t (store, fr_number, read_at, changed_at)
SELECT store, fr_number, %(read_at)s, clock_timestamp() FROM fba.fulfillment_request WHERE store = %(store)s AND fr_number = %(number)s
ON CONFLICT (store, fr_number) DO UPDATE SET read_at = greatest(t.read_at, excluded.read_at)

-- name: compare_witnesses
-- Whether report and order tell the same units, and neither a parcel that the other one has not; only where the order was read,
-- and one of them has told something new.
WITH compared AS (
    SELECT t.fr_number, coalesce(p.differ, false) OR coalesce(l.differ, false) AS differ
    FROM fba.tracked_order AS t CROSS JOIN LATERAL (
        SELECT bool_or(p.shipped <> p.shipped_by_report OR p.shipped <> p.shipped_by_order) AS differ
        FROM fba.fulfillment_progress AS p WHERE p.store = t.store AND p.fr_number = t.fr_number
    ) AS p CROSS JOIN LATERAL (
        SELECT bool_or(l.by_report = 0) AND bool_or(l.by_order = 0) AS differ
        FROM (
            SELECT sum(l.by_report) AS by_report, sum(l.by_order) AS by_order FROM fba.parcel_line AS l
            WHERE l.store = t.store AND l.fr_number = t.fr_number AND l.parcel <> '' GROUP BY l.parcel
        ) AS l
    ) AS l
    WHERE t.store = %(store)s AND NOT t.compared
)
UPDATE fba.tracked_order AS t SET compared = true, differs_since = CASE WHEN c.differ THEN coalesce(t.differs_since, clock_timestamp()) END
FROM compared AS c WHERE t.store = %(store)s AND t.fr_number = c.fr_number
