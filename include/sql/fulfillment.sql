-- name: now
SELECT clock_timestamp() AS now

-- name: lock_pending
-- One page of the pending requests, oldest first; those locked by another transaction are left for later.
SELECT fr_number, created_at, shipping_method, displayable_order_number, ship_to_name, ship_to_address_1, ship_to_address_2,
       ship_to_address_3, ship_to_city, ship_to_state, ship_to_postal_code, ship_to_country, ship_to_email, ship_to_phone,
       order_comment, channel, packaging, block_amazon_logistics, signature, deliver_together, deliver_by, speed,
       cancel_requested_at, looked_up_at, inserted_at, approved_at, approved_fee, approval_asked_at
FROM fba.fulfillment_request
WHERE store = %(store)s AND status = 'pending'
  AND (cardinality(%(numbers)s::text[]) = 0 OR fr_number = ANY(%(numbers)s))
  AND (%(after_time)s::timestamptz IS NULL OR (created_at, fr_number) > (%(after_time)s, %(after_number)s))
ORDER BY created_at, fr_number LIMIT %(page)s
FOR UPDATE SKIP LOCKED

-- name: has_pending
SELECT EXISTS (
    SELECT FROM fba.fulfillment_request WHERE store = %(store)s AND status = 'pending'
      AND (cardinality(%(numbers)s::text[]) = 0 OR fr_number = ANY(%(numbers)s))) AS yes

-- name: statuses
SELECT fr_number, status FROM fba.fulfillment_request WHERE store = %(store)s AND fr_number = ANY(%(numbers)s)

-- name: of_no_store
-- Requests of stores that are not in stores.yaml: no run ever processes them. Their rows say so.
WITH marked AS (
    UPDATE fba.fulfillment_request AS r SET waiting_reason = %(reason)s
    FROM (
        SELECT store, fr_number FROM fba.fulfillment_request
        WHERE store <> ALL(%(known)s) AND status = 'pending' AND waiting_reason IS DISTINCT FROM %(reason)s
        FOR UPDATE SKIP LOCKED
    ) AS free
    WHERE r.store = free.store AND r.fr_number = free.fr_number
)
SELECT count(*) FROM fba.fulfillment_request
WHERE store <> ALL(%(known)s) AND status IN ('pending', 'sending', 'submitted', 'unknown')

-- name: items
-- A statement of its own: only after the requests are locked does it see every line.
SELECT fr_number, line, sku, quantity, unit_price, title, upc, gift_message FROM fba.fulfillment_request_item
WHERE store = %(store)s AND fr_number = ANY(%(numbers)s) ORDER BY fr_number, line

-- name: pool_stock
SELECT sku, quantity FROM fba.global_inventory_pool WHERE store = %(store)s AND sku = ANY(%(skus)s)

-- name: afn_stock
SELECT seller_sku AS sku, coalesce(sum(quantity_available::numeric) FILTER (
    WHERE upper(warehouse_condition_code) = 'SELLABLE' AND quantity_available ~ '^[0-9]{1,18}$'), 0)::bigint AS quantity
FROM fba.amazon_afn_inventory_report WHERE store = %(store)s AND seller_sku = ANY(%(skus)s) GROUP BY seller_sku

-- name: near_skus
-- What may have been meant by SKUs that the pool does not have: other spellings (one in each line), and the neighbours in the
-- index, which a linguistic collation sorts without regard to case. Every branch reads a few entries of the primary key.
SELECT w.sku AS wanted, p.sku
FROM unnest(%(skus)s::text[], %(spellings)s::text[]) AS w (sku, spellings)
CROSS JOIN LATERAL (
    SELECT sku FROM fba.global_inventory_pool WHERE store = %(store)s AND sku = ANY(string_to_array(w.spellings, E'\n'))
    UNION ALL
    (SELECT sku FROM fba.global_inventory_pool WHERE store = %(store)s AND sku >= w.sku ORDER BY sku LIMIT 50)
    UNION ALL
    (SELECT sku FROM fba.global_inventory_pool WHERE store = %(store)s AND sku < w.sku ORDER BY sku DESC LIMIT 50)
) AS p

-- name: inventory_as_of
-- When the newest reports that made the pool were asked for: the older of the two.
SELECT CASE WHEN count(*) = cardinality(%(report_types)s) THEN min(newest) END AS as_of FROM (
    SELECT max(requested_at) AS newest FROM fba.report
    WHERE store = %(store)s AND report_type = ANY(%(report_types)s) AND applied_at IS NOT NULL GROUP BY report_type
) AS applied

-- name: used_elsewhere
SELECT fr_number, min(store) AS store FROM fba.fulfillment_request
WHERE seller_id = %(seller_id)s AND store <> %(store)s AND fr_number = ANY(%(numbers)s) GROUP BY fr_number

-- name: removed
SELECT DISTINCT fr_number FROM fba.removed_request
WHERE fr_number = ANY(%(numbers)s) AND (store = %(store)s OR seller_id = %(seller_id)s)

-- name: set_waiting
-- held: it waits for a time that stores.yaml sets or for a run by hand, which is no reason to worry, however long it takes.
-- asks: it waits for an approval. The one that it has, if any, is for something else and is taken back. One that waits for an approval
-- is not judged anew while it is held, and goes on waiting for it.
UPDATE fba.fulfillment_request AS r SET waiting_reason = new.reason,
    approval_asked_at = CASE WHEN new.asks THEN coalesce(r.approval_asked_at, clock_timestamp()) END,
    approved_at = CASE WHEN NOT new.asks THEN r.approved_at END,
    waiting_since = CASE WHEN NOT new.held THEN coalesce(
        r.waiting_since, CASE WHEN r.waiting_reason IS NULL THEN least(r.created_at, clock_timestamp()) ELSE clock_timestamp() END) END
FROM unnest(%(numbers)s::text[], %(reasons)s::text[], %(held)s::boolean[], %(asks)s::boolean[]) AS new (fr_number, reason, held, asks)
WHERE r.store = %(store)s AND r.fr_number = new.fr_number AND r.status = 'pending'
  AND NOT (new.held AND r.approval_asked_at IS NOT NULL AND r.approved_at IS NULL)
  AND (r.waiting_reason IS DISTINCT FROM new.reason OR (r.waiting_since IS NULL) <> new.held
       OR (r.approval_asked_at IS NULL) = new.asks OR new.asks AND r.approved_at IS NOT NULL)

-- name: set_invalid
UPDATE fba.fulfillment_request AS r SET status = 'invalid', status_reason = new.reason
FROM unnest(%(numbers)s::text[], %(reasons)s::text[]) AS new (fr_number, reason)
WHERE r.store = %(store)s AND r.fr_number = new.fr_number AND r.status = 'pending'

-- name: set_sending
UPDATE fba.fulfillment_request AS r SET status = 'sending', seller_id = %(seller_id)s, claim_id = new.claim_id,
    transport = %(transport)s, speed = new.speed,
    waiting_since = coalesce(r.waiting_since, clock_timestamp()), status_reason = nullif(new.warning, '')
FROM unnest(%(claim_ids)s::uuid[], %(numbers)s::text[], %(speeds)s::text[], %(warnings)s::text[]) AS new (claim_id, fr_number, speed, warning)
WHERE r.store = %(store)s AND r.fr_number = new.fr_number AND r.status = 'pending'

-- name: add_feed
INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count, claimed_at, seller_id, marketplace_id, endpoint)
VALUES (%(store)s, 'claim-' || %(claim_id)s::uuid, %(claim_id)s::uuid, %(run_id)s, %(message_count)s, clock_timestamp(),
        %(seller_id)s, %(marketplace_id)s, %(endpoint)s)

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
SELECT m.message_id, r.fr_number, r.status, r.seller_id, r.created_at, r.shipping_method, r.displayable_order_number,
       r.ship_to_name, r.ship_to_address_1, r.ship_to_address_2, r.ship_to_address_3, r.ship_to_city, r.ship_to_state,
       r.ship_to_postal_code, r.ship_to_country, r.ship_to_email, r.ship_to_phone, r.order_comment, r.channel, r.packaging,
       r.block_amazon_logistics, r.signature, r.deliver_together, r.deliver_by, r.speed, r.attempts, r.absent_since, r.inserted_at, r.looked_up_at, r.claim_id, f.claim_id AS feed_claim_id
FROM fba.feed AS f
JOIN fba.feed_message AS m USING (store, document_id)
JOIN fba.fulfillment_request AS r USING (store, fr_number)
WHERE f.store = %(store)s AND f.claim_id = %(claim_id)s
ORDER BY m.message_id

-- name: lock_feed
SELECT * FROM fba.feed WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL FOR UPDATE

-- name: record_upload
UPDATE fba.feed SET document_id = %(document_id)s, uploaded_at = clock_timestamp(), document_digest = %(digest)s
WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL AND submit_started_at IS NULL
RETURNING 1

-- name: record_intent
-- Only if every request is still the one that was uploaded, none is to be cancelled, and Amazon's feeds have just been compared with this very ledger.
UPDATE fba.feed AS f SET submit_started_at = clock_timestamp(), status = 'SUBMITTING'
WHERE f.store = %(store)s AND f.claim_id = %(claim_id)s AND f.settled_at IS NULL AND f.uploaded_at IS NOT NULL
  AND f.submit_started_at IS NULL AND f.document_digest = %(digest)s
  AND EXISTS (SELECT FROM fba.feed_check AS c WHERE c.store = f.store AND c.token = %(token)s)
  AND NOT EXISTS (
      SELECT FROM fba.feed_message AS m LEFT JOIN fba.fulfillment_request AS r USING (store, fr_number)
      WHERE m.store = f.store AND m.document_id = f.document_id
        AND (r.status IS DISTINCT FROM 'sending' OR r.claim_id IS DISTINCT FROM f.claim_id OR r.cancel_requested_at IS NOT NULL))
RETURNING f.submit_started_at

-- name: may_submit
SELECT 1 AS yes FROM fba.feed
WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL AND feed_id IS NULL AND status = 'SUBMITTING'
  AND submit_started_at = %(intent)s AND submit_started_at > clock_timestamp() - make_interval(secs => %(seconds)s)

-- name: withdraw_intent
-- Amazon made nothing; only the task that recorded the intent may withdraw it.
UPDATE fba.feed SET submit_started_at = NULL, status = 'CLAIMED'
WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL AND feed_id IS NULL AND status = 'SUBMITTING'
  AND submit_started_at = %(intent)s

-- name: record_submitted
UPDATE fba.feed SET feed_id = %(feed_id)s, submitted_at = clock_timestamp(),
    status = CASE WHEN settled_at IS NULL THEN 'IN_QUEUE' ELSE status END
WHERE store = %(store)s AND claim_id = %(claim_id)s AND (feed_id IS NULL OR feed_id = %(feed_id)s)
RETURNING 1

-- name: carried_elsewhere
-- Requests of a feed that are not its own any more, and that Amazon has or may get otherwise.
SELECT r.fr_number
FROM fba.feed AS f JOIN fba.feed_message AS m USING (store, document_id) JOIN fba.fulfillment_request AS r USING (store, fr_number)
WHERE f.store = %(store)s AND f.claim_id = %(claim_id)s AND r.claim_id IS DISTINCT FROM f.claim_id
ORDER BY m.message_id

-- name: set_aside
UPDATE fba.feed SET set_aside_at = clock_timestamp()
WHERE store = %(store)s AND claim_id = %(claim_id)s AND settled_at IS NULL AND set_aside_at IS NULL

-- name: record_state
UPDATE fba.feed SET
    status = %(status)s,
    result_document_id = coalesce(%(result_document_id)s, result_document_id),
    finished_at = CASE WHEN %(finished)s THEN coalesce(finished_at, clock_timestamp()) END
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
  AND (%(claim_id)s::uuid IS NULL OR r.claim_id = %(claim_id)s)
RETURNING r.fr_number, r.status

-- name: record_absent
UPDATE fba.fulfillment_request SET absent_since = CASE WHEN %(absent)s THEN clock_timestamp() END
WHERE store = %(store)s AND fr_number = ANY(%(numbers)s) AND status = 'unknown' AND claim_id = %(claim_id)s
  AND (absent_since IS NULL) = %(absent)s

-- name: count_stuck
SELECT count(*) FROM fba.fulfillment_request AS r
WHERE r.store = %(store)s AND r.status IN ('sending', 'submitted', 'unknown') AND fba.is_stuck(r.store, r.fr_number)

-- name: record_attempt
UPDATE fba.fulfillment_request SET attempts = attempts + 1, absent_since = NULL, looked_up_at = clock_timestamp()
WHERE store = %(store)s AND fr_number = %(number)s AND status = 'unknown' AND claim_id = %(claim_id)s
  AND absent_since = %(absent_since)s
RETURNING attempts

-- name: record_stuck
UPDATE fba.fulfillment_request SET stuck_since = clock_timestamp(), status_reason = %(reason)s
WHERE store = %(store)s AND fr_number = ANY(%(numbers)s) AND status = 'unknown' AND claim_id = %(claim_id)s AND stuck_since IS NULL
RETURNING fr_number

-- name: to_cancel
-- After a refusal every run asks again, for three days; once at least, however long no run was able to.
SELECT fr_number, status, seller_id, claim_id FROM fba.fulfillment_request
WHERE store = %(store)s AND cancel_requested_at IS NOT NULL
  AND (status IN ('accepted', 'unknown') OR status = 'submitted' AND claim_id IN (
      SELECT o.claim_id FROM fba.outbound_order AS o WHERE o.store = %(store)s AND o.settled_at IS NULL AND o.held))
  AND (greatest(cancel_requested_at, resolved_at, sent_at) > clock_timestamp() - interval '3 days' OR fba.never_asked_to_cancel(status, status_reason))
ORDER BY cancel_requested_at, fr_number

-- name: record_not_cancelled
UPDATE fba.fulfillment_request SET status_reason = %(reason)s
WHERE store = %(store)s AND fr_number = %(fr_number)s AND status IN ('accepted', 'unknown', 'submitted')

-- name: feed_check
SELECT checked_until, token, orders_until, last_claim IS NOT NULL AND NOT EXISTS (SELECT FROM fba.feed AS f WHERE f.claim_id = c.last_claim) AS forgot
FROM fba.feed_check AS c WHERE store = %(store)s

-- name: set_feed_check
INSERT INTO fba.feed_check (store, checked_until, token, last_claim)
VALUES (%(store)s, %(checked_until)s, %(token)s,
        (SELECT claim_id FROM fba.feed WHERE store = %(store)s AND submit_started_at IS NOT NULL ORDER BY claimed_at DESC LIMIT 1))
ON CONFLICT (store) DO UPDATE SET checked_until = excluded.checked_until, token = excluded.token, last_claim = excluded.last_claim

-- name: known_feeds
SELECT feed_id FROM fba.feed WHERE feed_id = ANY(%(feed_ids)s)

-- name: lost_intents
SELECT submit_started_at FROM fba.feed WHERE store = %(store)s AND feed_id IS NULL AND submit_started_at IS NOT NULL

-- name: add_foreign_feeds
INSERT INTO fba.foreign_feed (store, feed_id, created_at, ended_at)
SELECT %(store)s, feed_id, created, CASE WHEN ended THEN clock_timestamp() END
FROM unnest(%(feed_ids)s::text[], %(created)s::timestamptz[], %(ended)s::boolean[]) AS new (feed_id, created, ended)
ON CONFLICT DO NOTHING

-- name: open_foreign_feeds
SELECT feed_id, created_at, seen_at, ended_at FROM fba.foreign_feed
WHERE store = %(store)s AND cleared_at IS NULL ORDER BY seen_at, feed_id

-- name: end_foreign_feed
UPDATE fba.foreign_feed SET ended_at = coalesce(ended_at, clock_timestamp())
WHERE store = %(store)s AND feed_id = %(feed_id)s RETURNING ended_at

-- name: clear_foreign_feeds
UPDATE fba.foreign_feed SET cleared_at = clock_timestamp()
WHERE store = %(store)s AND feed_id = ANY(%(feed_ids)s) AND cleared_at IS NULL

-- name: add_orders_at_amazon
-- A rejected request accounts for an order that has ended, not for one that goes on or went on when it was taken down.
INSERT INTO fba.order_at_amazon AS a (store, fr_number, ended)
SELECT %(store)s, number, bool_and(listed.ended) FROM unnest(%(numbers)s::text[], %(ended)s::boolean[]) AS listed (number, ended)
WHERE NOT EXISTS (
    SELECT FROM fba.fulfillment_request AS r WHERE r.store = %(store)s AND r.fr_number = number
      AND CASE r.status WHEN 'rejected' THEN listed.ended AND NOT EXISTS (
              SELECT FROM fba.order_at_amazon AS known WHERE known.store = %(store)s AND known.fr_number = number)
          ELSE r.status NOT IN ('pending', 'sending', 'invalid') END)
  AND NOT (listed.ended AND EXISTS (
    SELECT FROM fba.outbound_order AS o WHERE o.store = %(store)s AND o.fr_number = number AND o.lapsed_at IS NOT NULL))
GROUP BY number ORDER BY number
ON CONFLICT (store, fr_number) DO UPDATE SET ended = excluded.ended WHERE a.ended <> excluded.ended

-- name: tell_refused
-- Refused requests of which Amazon has an order that goes on and that was seen only afterwards: they were set right and sent, which an
-- older copy of the warehouse has forgotten, or it is another's. Told once, also to who has seen the refusal.
WITH told AS (
    UPDATE fba.order_at_amazon AS a SET told_at = clock_timestamp() FROM fba.fulfillment_request AS r
    WHERE a.store = %(store)s AND r.store = a.store AND r.fr_number = a.fr_number AND r.status IN ('rejected', 'invalid')
      AND NOT a.ended AND a.cleared_at IS NULL AND a.told_at IS NULL AND coalesce(a.seen_at > r.resolved_at, true)
      AND coalesce(r.seller_id, %(seller_id)s) = %(seller_id)s AND NOT EXISTS (
        SELECT FROM fba.fulfillment_request AS t WHERE t.fr_number = r.fr_number AND t.store <> r.store AND t.seller_id = %(seller_id)s)
    RETURNING r.fr_number
)
UPDATE fba.fulfillment_request AS r SET acknowledged_at = NULL,
    status_reason = %(reason)s || coalesce(' Before: ' || r.status_reason, '')
FROM told WHERE r.store = %(store)s AND r.fr_number = told.fr_number

-- name: relatives_to_ask
-- Refused requests instead of which others are about to go out, and of whose number no order is known at Amazon.
WITH own AS (
    SELECT fr_number, coalesce(resend_of, fr_number) AS root FROM fba.fulfillment_request
    WHERE store = %(store)s AND fr_number = ANY(%(numbers)s)
), relative AS (
    SELECT own.fr_number, r.fr_number AS other, r.status FROM own JOIN fba.fulfillment_request AS r ON r.store = %(store)s AND r.fr_number = own.root
    UNION ALL
    SELECT own.fr_number, r.fr_number, r.status FROM own JOIN fba.fulfillment_request AS r ON r.store = %(store)s AND r.resend_of = own.root
)
SELECT fr_number, other FROM relative AS r
WHERE other <> fr_number AND status IN ('rejected', 'invalid')
  AND NOT EXISTS (SELECT FROM fba.order_at_amazon AS a WHERE a.store = %(store)s AND a.fr_number = r.other)
ORDER BY fr_number, other

-- name: in_the_way
-- What would make a second parcel of requests: of a request and its copies (fba.resend) another one that is on its way, or goes first;
-- one that was refused, and of which Amazon has an order seen afterwards; one that was shipped all the same; and such an order of a
-- copy that no request here accounts for, whose status is null.
WITH own AS (
    SELECT fr_number, coalesce(resend_of, fr_number) AS root, inserted_at FROM fba.fulfillment_request
    WHERE store = %(store)s AND fr_number = ANY(%(numbers)s)
), relative AS (
    SELECT own.fr_number AS of, own.inserted_at AS of_inserted_at, r.* FROM own JOIN fba.fulfillment_request AS r
        ON r.store = %(store)s AND r.fr_number = own.root AND r.fr_number <> own.fr_number
    UNION ALL
    SELECT own.fr_number, own.inserted_at, r.* FROM own JOIN fba.fulfillment_request AS r
        ON r.store = %(store)s AND r.resend_of = own.root AND r.fr_number <> own.fr_number
)
SELECT r.of AS fr_number, r.fr_number AS other, r.status, c.shipped FROM relative AS r
CROSS JOIN LATERAL (SELECT r.status IN ('cancelled', 'rejected') AND fba.has_shipped(r.store, r.fr_number) AS shipped) AS c
LEFT JOIN fba.order_at_amazon AS a ON a.store = r.store AND a.fr_number = r.fr_number AND NOT a.ended AND a.cleared_at IS NULL
WHERE CASE
    WHEN r.status IN ('rejected', 'invalid') THEN
        a.seen_at IS NOT NULL AND (a.told_at IS NOT NULL OR coalesce(a.seen_at > r.resolved_at, true)) AND NOT EXISTS (
            SELECT FROM fba.fulfillment_request AS t WHERE t.fr_number = r.fr_number AND t.store <> r.store AND t.seller_id = %(seller_id)s)
    WHEN r.status = 'pending' THEN a.seen_at IS NOT NULL OR (r.inserted_at, r.fr_number) < (r.of_inserted_at, r.of)
    WHEN r.status = 'accepted' THEN r.resolved_at > r.of_inserted_at  -- not one that is replaced on purpose
    ELSE r.status <> 'cancelled' END
   OR c.shipped
UNION ALL
SELECT own.fr_number, a.fr_number, NULL, false
FROM own CROSS JOIN generate_series(2, 9) AS k (copy)
JOIN fba.order_at_amazon AS a ON a.store = %(store)s AND a.fr_number = own.root || '-' || k.copy
WHERE a.fr_number <> own.fr_number AND NOT a.ended AND a.cleared_at IS NULL AND NOT EXISTS (
    SELECT FROM fba.fulfillment_request AS c
    WHERE c.fr_number = a.fr_number AND (c.store = a.store OR c.seller_id = %(seller_id)s))
ORDER BY 1, 2

-- name: add_order_at_amazon
INSERT INTO fba.order_at_amazon (store, fr_number) VALUES (%(store)s, %(number)s) ON CONFLICT DO NOTHING

-- name: record_looked_up
UPDATE fba.fulfillment_request SET looked_up_at = clock_timestamp() WHERE store = %(store)s AND fr_number = %(number)s

-- name: record_unanswered
INSERT INTO fba.unanswered_number (store, fr_number)
SELECT store, fr_number FROM fba.fulfillment_request WHERE store = %(store)s AND fr_number = %(number)s
ON CONFLICT (store, fr_number) DO UPDATE SET asked_at = clock_timestamp()

-- name: record_answered
DELETE FROM fba.unanswered_number WHERE store = %(store)s AND fr_number = %(number)s

-- name: unanswered
-- Pending requests that wait for Amazon's answer about their own number, or about that of a refused one of which they are a copy, or
-- which is a copy of them.
SELECT p.fr_number, u.fr_number AS other FROM fba.unanswered_number AS u JOIN fba.fulfillment_request AS o USING (store, fr_number)
JOIN fba.fulfillment_request AS p ON p.store = u.store AND p.status = 'pending'
    AND coalesce(p.resend_of, p.fr_number) = coalesce(o.resend_of, o.fr_number)
WHERE u.store = %(store)s AND (o.fr_number = p.fr_number OR o.status IN ('rejected', 'invalid'))
ORDER BY p.fr_number, u.fr_number = p.fr_number, u.fr_number

-- name: sent_before
-- Requests that an earlier feed carried to Amazon, or that were on their way for all the warehouse knew until a person decided, and
-- that are not known to be absent since then.
SELECT m.fr_number
FROM fba.feed_message AS m JOIN fba.feed AS f USING (store, document_id) JOIN fba.fulfillment_request AS r USING (store, fr_number)
WHERE m.store = %(store)s AND m.fr_number = ANY(%(numbers)s) AND f.claim_id <> %(claim_id)s AND f.submit_started_at IS NOT NULL
GROUP BY m.fr_number, r.looked_up_at HAVING coalesce(r.looked_up_at < max(f.submit_started_at), true)
UNION
SELECT r.fr_number FROM fba.fulfillment_request AS r JOIN fba.request_event AS e USING (store, fr_number)
WHERE r.store = %(store)s AND r.fr_number = ANY(%(numbers)s) AND e.what = 'set_by_hand'
  AND e.detail ~ '^from (sending|submitted|unknown) ' AND coalesce(r.looked_up_at < e.at, true)

-- name: pending_to_cancel
-- Which a person wants cancelled, and for whose numbers Amazon was not asked within an hour.
SELECT fr_number FROM fba.fulfillment_request
WHERE store = %(store)s AND status = 'pending' AND cancel_requested_at IS NOT NULL
  AND coalesce(looked_up_at < clock_timestamp() - interval '1 hour', true)
ORDER BY fr_number

-- name: pending_at_amazon
SELECT r.fr_number FROM fba.fulfillment_request AS r JOIN fba.order_at_amazon AS o USING (store, fr_number)
WHERE r.store = %(store)s AND r.status = 'pending' ORDER BY r.fr_number

-- name: at_amazon
SELECT fr_number FROM fba.order_at_amazon WHERE store = %(store)s AND fr_number = ANY(%(numbers)s)

-- name: adopt_as_sent
UPDATE fba.fulfillment_request SET status = 'sending', seller_id = %(seller_id)s, claim_id = %(claim_id)s
WHERE store = %(store)s AND fr_number = %(number)s AND status = 'pending' RETURNING 1

-- name: add_held_order
-- An order of ours that was forgotten and that Amazon holds.
INSERT INTO fba.outbound_order (claim_id, batch_id, run_id, store, fr_number, seller_id, marketplace_id, endpoint, features, held,
                                content_digest, intent_at, answered_at)
VALUES (%(claim_id)s, %(claim_id)s, 'forgotten', %(store)s, %(number)s, %(seller_id)s, %(marketplace_id)s, %(endpoint)s, '{}', true,
        '', clock_timestamp(), clock_timestamp())

-- name: remove_order_at_amazon
DELETE FROM fba.order_at_amazon WHERE store = %(store)s AND fr_number = %(number)s

-- name: add_orders
INSERT INTO fba.outbound_order (claim_id, batch_id, run_id, store, fr_number, seller_id, marketplace_id, endpoint, features, held,
                                content_digest, quoted_at)
SELECT claim_id, %(batch_id)s::uuid, %(run_id)s, %(store)s, fr_number, %(seller_id)s, %(marketplace_id)s, %(endpoint)s,
       string_to_array(features, ','), held, decode(digest, 'hex'), quoted_at
FROM unnest(%(claim_ids)s::uuid[], %(numbers)s::text[], %(features)s::text[], %(held)s::boolean[], %(digests)s::text[], %(quoted)s::timestamptz[])
    AS new (claim_id, fr_number, features, held, digest, quoted_at)

-- name: open_orders
-- With their requests; carried: no newer claim or person has taken the request from it.
SELECT o.claim_id, o.batch_id, o.run_id, o.fr_number, o.seller_id, o.marketplace_id, o.endpoint, o.features, o.held, o.content_digest,
       o.intent_at, o.answered_at, r.status, r.attempts, r.absent_since, r.looked_up_at, r.inserted_at, r.cancel_requested_at,
       r.claim_id IS NOT DISTINCT FROM o.claim_id AND r.status IN ('sending', 'submitted', 'unknown') AS carried,
       EXISTS (SELECT FROM fba.outbound_order AS e
               WHERE e.store = o.store AND e.fr_number = o.fr_number AND e.lapsed_at IS NOT NULL) AS lapsed_before
FROM fba.outbound_order AS o JOIN fba.fulfillment_request AS r USING (store, fr_number)
WHERE o.store = %(store)s AND o.settled_at IS NULL ORDER BY o.claimed_at, o.fr_number

-- name: carries
-- What a claim is: a feed, or orders of a batch.
SELECT EXISTS (SELECT FROM fba.feed WHERE store = %(store)s AND claim_id = %(claim_id)s) AS feed,
       EXISTS (SELECT FROM fba.outbound_order WHERE store = %(store)s AND batch_id = %(claim_id)s) AS orders

-- name: requests
SELECT fr_number, created_at, shipping_method, displayable_order_number, ship_to_name, ship_to_address_1, ship_to_address_2,
       ship_to_address_3, ship_to_city, ship_to_state, ship_to_postal_code, ship_to_country, ship_to_email, ship_to_phone,
       order_comment, channel, packaging, block_amazon_logistics, signature, deliver_together, deliver_by, speed
FROM fba.fulfillment_request WHERE store = %(store)s AND fr_number = ANY(%(numbers)s)

-- name: record_order_intent
-- Only for the claim that carries the request, with the content that was claimed, a quote that is not old, and if Amazon's feeds and
-- orders have just been compared with this very ledger.
UPDATE fba.outbound_order AS o SET intent_at = clock_timestamp()
WHERE o.claim_id = %(claim_id)s AND o.store = %(store)s AND o.settled_at IS NULL AND o.intent_at IS NULL
  AND o.content_digest = %(digest)s
  AND coalesce(o.quoted_at > clock_timestamp() - make_interval(secs => %(fresh)s), true)
  AND EXISTS (SELECT FROM fba.feed_check AS c WHERE c.store = o.store AND c.token = %(token)s)
  AND EXISTS (SELECT FROM fba.fulfillment_request AS r WHERE r.store = o.store AND r.fr_number = o.fr_number
              AND r.status = 'sending' AND r.claim_id = o.claim_id AND r.cancel_requested_at IS NULL)
RETURNING o.intent_at

-- name: may_order
SELECT 1 AS yes FROM fba.outbound_order AS o JOIN fba.fulfillment_request AS r USING (store, fr_number)
WHERE o.claim_id = %(claim_id)s AND o.store = %(store)s AND o.settled_at IS NULL AND o.answered_at IS NULL
  AND o.intent_at = %(intent)s AND o.intent_at > clock_timestamp() - make_interval(secs => %(seconds)s)
  AND r.status = 'sending' AND r.claim_id = o.claim_id

-- name: may_release
SELECT 1 AS yes FROM fba.fulfillment_request AS r
WHERE r.store = %(store)s AND r.fr_number = %(fr_number)s AND r.status = 'submitted' AND r.claim_id = %(claim_id)s
  AND r.cancel_requested_at IS NULL

-- name: withdraw_order_intent
-- Amazon made nothing; only the task that recorded the intent may withdraw it.
UPDATE fba.outbound_order AS o SET intent_at = NULL
WHERE o.claim_id = %(claim_id)s AND o.store = %(store)s AND o.settled_at IS NULL AND o.answered_at IS NULL AND o.intent_at = %(intent)s
  AND EXISTS (SELECT FROM fba.fulfillment_request AS r WHERE r.store = o.store AND r.fr_number = o.fr_number
              AND r.status = 'sending' AND r.claim_id = o.claim_id)

-- name: record_answer
UPDATE fba.outbound_order SET answered_at = coalesce(answered_at, clock_timestamp()),
    settled_at = CASE WHEN NOT held THEN coalesce(settled_at, clock_timestamp()) ELSE settled_at END
WHERE claim_id = %(claim_id)s AND store = %(store)s RETURNING intent_at, held

-- name: close_order
UPDATE fba.outbound_order SET settled_at = clock_timestamp(), lapsed_at = CASE WHEN %(lapsed)s THEN clock_timestamp() END
WHERE claim_id = %(claim_id)s AND store = %(store)s AND settled_at IS NULL

-- name: close_unsent
UPDATE fba.outbound_order SET settled_at = clock_timestamp()
WHERE store = %(store)s AND claim_id = ANY(%(claim_ids)s::uuid[]) AND settled_at IS NULL AND intent_at IS NULL RETURNING fr_number

-- name: close_taken_over
UPDATE fba.outbound_order AS o SET settled_at = clock_timestamp()
WHERE o.store = %(store)s AND o.settled_at IS NULL AND NOT EXISTS (
    SELECT FROM fba.fulfillment_request AS r WHERE r.store = o.store AND r.fr_number = o.fr_number
      AND r.claim_id = o.claim_id AND r.status IN ('sending', 'submitted', 'unknown'))

-- name: set_orders_until
UPDATE fba.feed_check SET orders_until = %(orders_until)s WHERE store = %(store)s AND token = %(token)s RETURNING 1

-- name: quotes
SELECT fr_number, speed, quoted_at, features, fulfillable, fee, currency, fees, ship_earliest, ship_latest, arrive_earliest,
       arrive_latest, shipments, unfulfillable
FROM fba.fulfillment_quote
WHERE store = %(store)s AND fr_number = ANY(%(numbers)s) AND quoted_at > clock_timestamp() - make_interval(secs => %(fresh)s)
ORDER BY fr_number, speed

-- name: remove_quote
DELETE FROM fba.fulfillment_quote WHERE store = %(store)s AND fr_number = %(number)s

-- name: add_quote
-- Only while it is pending; editing it in the meantime removes the quote again.
INSERT INTO fba.fulfillment_quote (store, fr_number, speed, quoted_at, features, fulfillable, fee, currency, fees, ship_earliest,
                                   ship_latest, arrive_earliest, arrive_latest, shipments, unfulfillable)
SELECT %(store)s, %(number)s, %(speed)s, clock_timestamp(), %(features)s, %(fulfillable)s, %(fee)s, %(currency)s, %(fees)s,
       %(ship_earliest)s, %(ship_latest)s, %(arrive_earliest)s, %(arrive_latest)s, %(shipments)s, %(unfulfillable)s
FROM fba.fulfillment_request WHERE store = %(store)s AND fr_number = %(number)s AND status = 'pending'

-- name: record_quoted
-- Only what it did not say the last time: a request that waits is quoted again and again.
INSERT INTO fba.request_event (store, fr_number, at, what, detail, source)
SELECT store, fr_number, max(quoted_at), 'quoted', fba.quote_in_words(store, fr_number), 'product' FROM fba.fulfillment_quote AS q
WHERE store = %(store)s AND fr_number = %(number)s
GROUP BY store, fr_number
HAVING fba.quote_in_words(store, fr_number) IS DISTINCT FROM (
    SELECT e.detail FROM fba.request_event AS e
    WHERE e.store = q.store AND e.fr_number = q.fr_number AND e.what = 'quoted' ORDER BY e.n DESC LIMIT 1)

-- name: choose_quotes
UPDATE fba.fulfillment_quote AS q SET chosen = q.speed = new.speed
FROM unnest(%(numbers)s::text[], %(speeds)s::text[]) AS new (fr_number, speed)
WHERE q.store = %(store)s AND q.fr_number = new.fr_number AND q.chosen <> (q.speed = new.speed)

-- name: lock_content
-- Nobody edits it until the transaction ends; its content, to see whether it is still what Amazon was asked about.
SELECT fr_number FROM fba.fulfillment_request WHERE store = %(store)s AND fr_number = %(number)s AND status = 'pending' FOR UPDATE

-- name: features
SELECT feature, sku, eligible, reasons FROM fba.feature WHERE store = %(store)s AND asked_at > clock_timestamp() - interval '1 day'

-- name: set_feature
INSERT INTO fba.feature (store, feature, sku, eligible, reasons) VALUES (%(store)s, %(feature)s, %(sku)s, %(eligible)s, %(reasons)s)
ON CONFLICT (store, feature, sku) DO UPDATE SET eligible = excluded.eligible, reasons = excluded.reasons, asked_at = clock_timestamp()

-- name: stores_with_work
SELECT s.store FROM unnest(%(stores)s::text[]) AS s (store)
WHERE EXISTS (
    SELECT FROM fba.fulfillment_request AS r
    WHERE r.store = s.store AND r.status IN ('pending', 'sending', 'submitted', 'unknown')
) OR EXISTS (
    SELECT FROM fba.fulfillment_request AS r
    WHERE r.store = s.store AND r.status = 'accepted' AND r.cancel_requested_at IS NOT NULL
      AND (greatest(r.cancel_requested_at, r.resolved_at, r.sent_at) > clock_timestamp() - interval '3 days'
        OR fba.never_asked_to_cancel(r.status, r.status_reason))
) OR EXISTS (SELECT FROM fba.feed AS f WHERE f.store = s.store AND f.settled_at IS NULL)
  OR EXISTS (SELECT FROM fba.outbound_order AS o WHERE o.store = s.store AND o.settled_at IS NULL)

-- name: as_person
-- For this transaction: the database's rules for everybody but the product hold, who decides has a name in the timeline, and nobody
-- waits long before a page.
SELECT set_config('fba.writer', '', true), set_config('fba.actor', %(actor)s, true), set_config('lock_timeout', '5s', true),
       set_config('statement_timeout', '30s', true)

-- name: lock_to_decide
SELECT fr_number FROM fba.fulfillment_request WHERE store = %(store)s AND fr_number = %(fr_number)s FOR UPDATE

-- name: to_decide
-- What a person decides about, without texts that may quote an address, and a digest of it: the same in every session, whatever its
-- time zone. What the runs rewrite while a request waits is not in it, because that changes no decision. Editing a request takes its quote and the question for an approval away.
SELECT r.store, r.fr_number, r.status, coalesce(fba.is_stuck(r.store, r.fr_number), false) AS stuck, r.cancel_requested_at,
       r.approved_at, r.approval_asked_at, q.speed, q.fee, q.currency, fba.has_address(r.store, r.fr_number) AS has_address, t.fr_number AS twin, t.status AS twin_status,
       coalesce(w.codes, '{}') AS needs, r.amazon_order_status AS order_status,
       encode(sha256(convert_to(jsonb_build_array(
           r.status, extract(epoch FROM r.resolved_at), extract(epoch FROM r.cancel_requested_at), extract(epoch FROM r.approved_at),
           extract(epoch FROM r.approval_asked_at), extract(epoch FROM r.acknowledged_at), extract(epoch FROM r.unknown_since), extract(epoch FROM r.stuck_since), r.claim_id,
           r.amazon_order_status, r.shipping_method, r.channel, r.packaging, r.block_amazon_logistics, r.signature, r.deliver_together,
           extract(epoch FROM r.deliver_by), t.fr_number, w.seen,
           (SELECT jsonb_agg(jsonb_build_array(i.line, i.sku, i.quantity, i.unit_price) ORDER BY i.line)
            FROM fba.fulfillment_request_item AS i WHERE i.store = r.store AND i.fr_number = r.fr_number),
           (SELECT jsonb_agg(jsonb_build_array(p.speed, p.fulfillable, p.fee, p.currency, extract(epoch FROM p.arrive_latest), p.chosen) ORDER BY p.speed)
            FROM fba.fulfillment_quote AS p WHERE p.store = r.store AND p.fr_number = r.fr_number)
       )::text, 'UTF8')), 'hex') AS digest
FROM fba.fulfillment_request AS r
LEFT JOIN fba.fulfillment_quote AS q ON q.store = r.store AND q.fr_number = r.fr_number AND q.chosen
LEFT JOIN LATERAL (  -- the request that goes out instead of this one
    SELECT n.fr_number, n.status FROM fba.fulfillment_request AS n
    WHERE n.store = r.store AND n.fr_number <> r.fr_number AND n.status NOT IN ('cancelled', 'rejected')
      AND (n.resend_of = coalesce(r.resend_of, r.fr_number) OR n.fr_number = r.resend_of)
    ORDER BY n.status = 'invalid', n.fr_number LIMIT 1
) AS t ON true
CROSS JOIN LATERAL (  -- what is told of it until somebody says that it was seen
    SELECT array_agg(n.code ORDER BY n.code) AS codes, jsonb_agg(jsonb_build_array(n.code, n.number, extract(epoch FROM n.since)) ORDER BY n.code) AS seen
    FROM fba.needs_attention_at_once AS n
    WHERE n.store = r.store AND n.subject = r.fr_number
      AND n.code IN ('invalid', 'rejected', 'not_cancelled', 'cancelled_by_amazon', 'cancelled_but_shipped', 'partly_shipped', 'late', 'undeliverable',
                     'claim_due', 'blocked_carrier_used')
) AS w
WHERE r.store = %(store)s AND r.fr_number = %(fr_number)s

-- name: decide_approve
UPDATE fba.fulfillment_request SET approved_at = clock_timestamp(), approved_by = %(actor)s
WHERE store = %(store)s AND fr_number = %(fr_number)s AND status = 'pending' AND approval_asked_at IS NOT NULL AND approved_at IS NULL
RETURNING fr_number

-- name: decide_cancel
UPDATE fba.fulfillment_request SET cancel_requested_at = clock_timestamp()
WHERE store = %(store)s AND fr_number = %(fr_number)s AND status = %(status)s AND cancel_requested_at IS NULL
RETURNING fr_number

-- name: decide_acknowledge
WITH done AS (
    UPDATE fba.fulfillment_request SET acknowledged_at = clock_timestamp()
    WHERE store = %(store)s AND fr_number = %(fr_number)s AND status = %(status)s RETURNING store, fr_number
)
INSERT INTO fba.request_event (store, fr_number, what, detail, source)
SELECT store, fr_number, 'set_by_hand', 'seen: taken from the list of what needs somebody', 'merchant' FROM done RETURNING fr_number

-- name: decide_status
-- A cancellation that was asked for before it was sent would make it invalid again.
UPDATE fba.fulfillment_request SET status = %(decided)s,
    cancel_requested_at = CASE WHEN %(decided)s <> 'pending' THEN cancel_requested_at END
WHERE store = %(store)s AND fr_number = %(fr_number)s AND status = %(status)s
RETURNING fr_number

-- name: decide_resend
SELECT fba.resend(%(store)s, %(fr_number)s) AS fr_number
