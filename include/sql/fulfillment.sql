-- name: lock_store
-- Held until the transaction ends: claiming, submitting and settling of one store happen one after another.
SELECT pg_advisory_xact_lock(hashtext('fba.feed'), hashtext(%(store)s))

-- name: lock_pending
-- One page of the pending requests, oldest first; those locked by another transaction are left for later.
SELECT fr_number, created_at, shipping_method, ship_to_name, ship_to_address_1, ship_to_address_2, ship_to_city, ship_to_state,
       ship_to_postal_code, ship_to_country, ship_to_email, ship_to_phone, order_comment, cancel_requested_at
FROM fba.fulfillment_request
WHERE store = %(store)s AND status = 'pending'
  AND (cardinality(%(numbers)s::text[]) = 0 OR fr_number = ANY(%(numbers)s))
  AND (%(after_time)s::timestamptz IS NULL OR (created_at, fr_number) > (%(after_time)s, %(after_number)s))
ORDER BY created_at, fr_number LIMIT %(page)s
FOR UPDATE SKIP LOCKED

-- name: statuses
SELECT fr_number, status FROM fba.fulfillment_request WHERE store = %(store)s AND fr_number = ANY(%(numbers)s)

-- name: of_no_store
-- Requests of stores that are not in stores.yaml: no run ever processes them. Their rows say so.
WITH marked AS (
    UPDATE fba.fulfillment_request SET waiting_reason = %(reason)s
    WHERE store <> ALL(%(known)s) AND status = 'pending' AND waiting_reason IS DISTINCT FROM %(reason)s
)
SELECT count(*) FROM fba.fulfillment_request
WHERE store <> ALL(%(known)s) AND status IN ('pending', 'sending', 'submitted', 'unknown')

-- name: items
-- A statement of its own: only after the requests are locked does it see every line.
SELECT fr_number, line, sku, quantity, unit_price, title, upc FROM fba.fulfillment_request_item
WHERE store = %(store)s AND fr_number = ANY(%(numbers)s) ORDER BY fr_number, line

-- name: pool_stock
SELECT sku, quantity FROM fba.global_inventory_pool WHERE store = %(store)s AND sku = ANY(%(skus)s)

-- name: afn_stock
SELECT seller_sku AS sku, coalesce(sum(quantity_available::numeric) FILTER (
    WHERE upper(warehouse_condition_code) = 'SELLABLE' AND quantity_available ~ '^[0-9]{1,18}$'), 0)::bigint AS quantity
FROM fba.amazon_afn_inventory_report WHERE store = %(store)s AND seller_sku = ANY(%(skus)s) GROUP BY seller_sku

-- name: inventory_as_of
-- When the newest reports that made the pool were asked for: the older of the two.
SELECT CASE WHEN count(*) = cardinality(%(report_types)s) THEN min(newest) END AS as_of FROM (
    SELECT max(requested_at) AS newest FROM fba.report
    WHERE store = %(store)s AND report_type = ANY(%(report_types)s) AND applied_at IS NOT NULL GROUP BY report_type
) AS applied

-- name: used_elsewhere
SELECT fr_number, min(store) AS store FROM fba.fulfillment_request
WHERE seller_id = %(seller_id)s AND store <> %(store)s AND fr_number = ANY(%(numbers)s) GROUP BY fr_number

-- name: set_waiting
UPDATE fba.fulfillment_request AS r SET waiting_reason = new.reason
FROM unnest(%(numbers)s::text[], %(reasons)s::text[]) AS new (fr_number, reason)
WHERE r.store = %(store)s AND r.fr_number = new.fr_number AND r.status = 'pending'
  AND r.waiting_reason IS DISTINCT FROM new.reason

-- name: set_invalid
UPDATE fba.fulfillment_request AS r SET status = 'invalid', status_reason = new.reason
FROM unnest(%(numbers)s::text[], %(reasons)s::text[]) AS new (fr_number, reason)
WHERE r.store = %(store)s AND r.fr_number = new.fr_number AND r.status = 'pending'

-- name: set_sending
UPDATE fba.fulfillment_request AS r SET status = 'sending', seller_id = %(seller_id)s, status_reason = nullif(new.warning, '')
FROM unnest(%(numbers)s::text[], %(warnings)s::text[]) AS new (fr_number, warning)
WHERE r.store = %(store)s AND r.fr_number = new.fr_number

-- name: add_feed
INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count, claimed_at)
VALUES (%(store)s, 'claim-' || %(claim_id)s::uuid, %(claim_id)s::uuid, %(run_id)s, %(message_count)s, clock_timestamp())

-- name: add_messages
INSERT INTO fba.feed_message (store, document_id, message_id, fr_number)
SELECT %(store)s, 'claim-' || %(claim_id)s::uuid, message_id, fr_number
FROM unnest(%(message_ids)s::integer[], %(numbers)s::text[]) AS new (message_id, fr_number)

-- name: open_feeds
SELECT * FROM fba.feed WHERE store = %(store)s AND settled_at IS NULL ORDER BY claimed_at

-- name: by_claim
SELECT * FROM fba.feed WHERE store = %(store)s AND claim_id = %(claim_id)s

-- name: last_submitted
SELECT max(submit_started_at) FROM fba.feed WHERE store = %(store)s

-- name: feed_requests
SELECT m.message_id, r.fr_number, r.status, r.seller_id, r.created_at, r.shipping_method, r.ship_to_name, r.ship_to_address_1,
       r.ship_to_address_2, r.ship_to_city, r.ship_to_state, r.ship_to_postal_code, r.ship_to_country, r.ship_to_email,
       r.ship_to_phone, r.order_comment, r.attempts, r.absent_since
FROM fba.feed AS f
JOIN fba.feed_message AS m USING (store, document_id)
JOIN fba.fulfillment_request AS r USING (store, fr_number)
WHERE f.store = %(store)s AND f.claim_id = %(claim_id)s
ORDER BY m.message_id

-- name: lock_feed
SELECT * FROM fba.feed WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL FOR UPDATE

-- name: record_upload
UPDATE fba.feed SET document_id = %(document_id)s, uploaded_at = clock_timestamp()
WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL AND submit_started_at IS NULL
RETURNING 1

-- name: record_intent
UPDATE fba.feed SET submit_started_at = clock_timestamp(), status = 'SUBMITTING'
WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL AND uploaded_at IS NOT NULL
  AND submit_started_at IS NULL
RETURNING document_id

-- name: withdraw_intent
-- Amazon made nothing; only the task that recorded the intent may withdraw it.
UPDATE fba.feed SET submit_started_at = NULL, status = 'CLAIMED'
WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL AND feed_id IS NULL AND status = 'SUBMITTING'

-- name: record_submitted
UPDATE fba.feed SET feed_id = %(feed_id)s, submitted_at = clock_timestamp(),
    status = CASE WHEN settled_at IS NULL THEN 'IN_QUEUE' ELSE status END
WHERE store = %(store)s AND claim_id = %(claim_id)s AND feed_id IS NULL

-- name: record_state
UPDATE fba.feed SET
    status = %(status)s,
    result_document_id = coalesce(%(result_document_id)s, result_document_id),
    finished_at = CASE WHEN %(finished)s THEN coalesce(%(finished_at)s, finished_at, clock_timestamp()) END
WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL

-- name: close_feed
UPDATE fba.feed SET settled_at = clock_timestamp(), status = coalesce(%(status)s, status)
WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL

-- name: record_judged
UPDATE fba.feed SET judged_at = clock_timestamp(), finished_at = coalesce(finished_at, clock_timestamp()),
    result_document = %(result_document)s
WHERE store = %(store)s AND claim_id = %(claim_id)s

-- name: record_results
UPDATE fba.feed_message AS m SET result_code = new.result_code, message_code = new.message_code, description = new.description
FROM fba.feed AS f, unnest(%(message_ids)s::integer[], %(result_codes)s::text[], %(message_codes)s::text[], %(descriptions)s::text[])
    AS new (message_id, result_code, message_code, description)
WHERE f.store = %(store)s AND f.claim_id = %(claim_id)s
  AND m.store = f.store AND m.document_id = f.document_id AND m.message_id = new.message_id

-- name: move
-- Requests from one status to another; those that have left the first in the meantime stay as they are.
UPDATE fba.fulfillment_request AS r SET
    status = new.status, status_reason = new.reason,
    amazon_order_status = coalesce(new.order_status, r.amazon_order_status),
    sent_at = coalesce(%(sent_at)s, r.sent_at)
FROM unnest(%(numbers)s::text[], %(statuses)s::text[], %(reasons)s::text[], %(order_statuses)s::text[])
    AS new (fr_number, status, reason, order_status)
WHERE r.store = %(store)s AND r.fr_number = new.fr_number AND r.status = ANY(%(moved_from)s::text[])
RETURNING r.fr_number, r.status

-- name: record_absent
UPDATE fba.fulfillment_request SET absent_since = CASE WHEN %(absent)s THEN clock_timestamp() END
WHERE store = %(store)s AND fr_number = ANY(%(numbers)s) AND status = 'unknown'

-- name: count_stuck
-- Unknown, and in no feed that is still to be settled: no run looks them up any more.
SELECT count(*) FROM fba.fulfillment_request AS r WHERE r.store = %(store)s AND r.status = 'unknown' AND NOT EXISTS (
    SELECT FROM fba.feed AS f JOIN fba.feed_message AS m USING (store, document_id)
    WHERE f.settled_at IS NULL AND m.store = r.store AND m.fr_number = r.fr_number)

-- name: record_attempt
UPDATE fba.fulfillment_request SET attempts = attempts + 1, absent_since = NULL
WHERE store = %(store)s AND fr_number = %(number)s AND status = 'unknown'

-- name: to_cancel
-- After a refusal every run asks again, for three days.
SELECT fr_number, status, seller_id FROM fba.fulfillment_request
WHERE store = %(store)s AND status IN ('accepted', 'unknown')
  AND cancel_requested_at IS NOT NULL
  AND greatest(cancel_requested_at, resolved_at, sent_at) > clock_timestamp() - interval '3 days'
ORDER BY cancel_requested_at, fr_number

-- name: record_not_cancelled
UPDATE fba.fulfillment_request SET status_reason = %(reason)s
WHERE store = %(store)s AND fr_number = %(fr_number)s AND status IN ('accepted', 'unknown')
