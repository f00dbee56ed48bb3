-- name: begin
-- For this transaction alone, since behind a pooler the next one may be somebody else's: whose it is, that its commit survives a
-- crash, and how long it may wait, work and do nothing.
SELECT set_config('fba.writer', 'product', true), set_config('synchronous_commit', 'on', true),
       set_config('lock_timeout', '30s', true), set_config('statement_timeout', '1h', true),
       set_config('idle_in_transaction_session_timeout', '10min', true)

-- name: limit_lock
-- Who holds a lock and does nothing for ten minutes loses it with the session.
SELECT set_config('lock_timeout', %(patience)s, true), set_config('idle_in_transaction_session_timeout', '10min', true)

-- name: take_lock
SELECT pg_advisory_xact_lock(hashtext(%(room)s), hashtext(%(store)s))

-- name: who_blocks
-- Sessions that hold something open and do nothing, the oldest first.
SELECT pid, coalesce(usename, '?') AS usename, coalesce(nullif(application_name, ''), 'no name') AS application,
       round(extract(epoch FROM clock_timestamp() - xact_start))::bigint AS seconds
FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%%' AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '20 seconds'
ORDER BY xact_start LIMIT 1

-- name: register_credential
INSERT INTO fba.lwa_token (credential) VALUES (%(credential)s) ON CONFLICT DO NOTHING

-- name: token
SELECT token, expires_at, expires_at > clock_timestamp() AS valid FROM fba.lwa_token WHERE credential = %(credential)s

-- name: lease_token
-- For one task, unless the token is another than the one it has seen. A lease that ends later than one can is none.
UPDATE fba.lwa_token SET fetching_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE credential IN (
    SELECT credential FROM fba.lwa_token
    WHERE credential = %(credential)s AND token IS NOT DISTINCT FROM %(seen)s
      AND coalesce(NOT fetching_until BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => %(seconds)s), true)
    FOR UPDATE SKIP LOCKED)
RETURNING fetching_until

-- name: end_lease
UPDATE fba.lwa_token SET fetching_until = NULL WHERE credential = %(credential)s AND fetching_until = %(lease)s

-- name: store_token
UPDATE fba.lwa_token SET token = %(token)s, expires_at = %(expires_at)s, refreshed_at = clock_timestamp(), fetching_until = NULL
WHERE credential = %(credential)s

-- name: take_call
INSERT INTO fba.rate_limit AS b (bucket, tokens, rate, burst, refilled_at)
VALUES (%(bucket)s, %(burst)s - 1, %(rate)s, %(burst)s, clock_timestamp())
ON CONFLICT (bucket) DO UPDATE SET
    tokens = least(b.burst, b.tokens + extract(epoch FROM clock_timestamp() - b.refilled_at) * b.rate) - 1,
    refilled_at = clock_timestamp()
WHERE least(b.burst, b.tokens + extract(epoch FROM clock_timestamp() - b.refilled_at) * b.rate) >= 1
RETURNING b.tokens

-- name: seconds_until_next_call
SELECT greatest((1 - tokens) / rate - extract(epoch FROM clock_timestamp() - refilled_at), 0) AS seconds
FROM fba.rate_limit WHERE bucket = %(bucket)s

-- name: correct_bucket
UPDATE fba.rate_limit SET
    tokens = CASE WHEN %(empty)s THEN 0
             ELSE least(burst, tokens + extract(epoch FROM clock_timestamp() - refilled_at) * rate) END,
    refilled_at = clock_timestamp(),
    rate = coalesce(%(rate)s::double precision, rate)
WHERE bucket = %(bucket)s

-- name: correct_impossible_bucket
-- A rate far from the documented one, or a time that is still to come, would stop every call.
UPDATE fba.rate_limit SET
    rate = greatest(least(rate, %(rate)s::double precision * 100), %(rate)s::double precision / 100),
    tokens = greatest(tokens, 0),
    refilled_at = least(refilled_at, clock_timestamp())
WHERE bucket = %(bucket)s

-- name: check_quantities
-- A guarantee: what it returns breaks it, each as store and subject. The same holds for all that follow.
SELECT store, sku AS subject FROM fba.global_inventory_pool WHERE quantity NOT IN (fba_quantity, fba_quantity + fbm_quantity)

-- name: check_history
SELECT p.store, p.sku AS subject FROM fba.global_inventory_pool AS p
CROSS JOIN LATERAL (
    SELECT quantity FROM fba.stock_change AS c WHERE c.store = p.store AND c.sku = p.sku ORDER BY c.at DESC LIMIT 1
) AS last
WHERE last.quantity IS DISTINCT FROM p.quantity

-- name: check_parsed_copies
SELECT a.store, r.report_id AS subject FROM fba.applied_stock AS a
JOIN fba.report AS r ON r.store = a.store AND r.report_id IN (a.listings_report_id, a.afn_report_id)
WHERE r.row_count IS DISTINCT FROM CASE r.report_id
    WHEN a.afn_report_id THEN (SELECT count(*) FROM fba.amazon_afn_inventory_report AS c WHERE c.store = a.store)
    ELSE (SELECT count(*) FROM fba.amazon_all_listings_report AS c WHERE c.store = a.store) END
  AND r.status = 'DONE'

-- name: check_carriers
SELECT store, fr_number AS subject FROM fba.fulfillment_request AS r
WHERE status IN ('sending', 'submitted')
  AND NOT EXISTS (SELECT FROM fba.feed AS f WHERE f.claim_id = r.claim_id)
  AND NOT EXISTS (SELECT FROM fba.outbound_order AS o WHERE o.claim_id = r.claim_id)

-- name: check_one_carrier
SELECT store, fr_number AS subject FROM (
    SELECT m.store, m.fr_number FROM fba.feed_message AS m JOIN fba.feed AS f USING (store, document_id)
    WHERE f.settled_at IS NULL AND f.set_aside_at IS NULL
    UNION ALL SELECT store, fr_number FROM fba.outbound_order WHERE settled_at IS NULL
) AS carried GROUP BY store, fr_number HAVING count(*) > 1

-- name: check_removed_numbers
SELECT r.store, r.fr_number AS subject FROM fba.fulfillment_request AS r
JOIN fba.removed_request AS gone ON gone.fr_number = r.fr_number AND gone.seller_id = r.seller_id
WHERE r.sent_at > gone.removed_at

-- name: check_items
SELECT store, fr_number AS subject FROM fba.fulfillment_request AS r
WHERE status IN ('sending', 'submitted', 'accepted')
  AND NOT EXISTS (SELECT FROM fba.fulfillment_request_item AS i WHERE i.store = r.store AND i.fr_number = r.fr_number)

-- name: check_timeline
SELECT store, fr_number AS subject FROM fba.fulfillment_request AS r
WHERE NOT EXISTS (SELECT FROM fba.request_event AS e WHERE e.store = r.store AND e.fr_number = r.fr_number AND e.what = 'created')

-- name: check_progress
SELECT store, fr_number || ' ' || sku AS subject FROM fba.fulfillment_progress
WHERE shipped < greatest(shipped_by_report, shipped_by_order) OR delivered > shipped

-- name: check_addresses
SELECT store, fr_number AS subject FROM fba.fulfillment_request
WHERE created_at < clock_timestamp() - interval '91 days' AND status <> 'sending'
  AND num_nonnulls(ship_to_name, ship_to_address_1, ship_to_address_2, ship_to_address_3, ship_to_city, ship_to_state,
                   ship_to_postal_code, ship_to_country, ship_to_email, ship_to_phone, order_comment) > 0

-- name: check_encryption
-- Every Fernet token begins with the byte 80, or with its text, as earlier versions stored it.
SELECT store, subject FROM (
    SELECT store, report_id AS subject, content AS secret FROM fba.report_document
    UNION ALL SELECT store, report_id, raw_line FROM fba.rejected_row
    UNION ALL SELECT store, document_id, result_document FROM fba.feed
    UNION ALL SELECT 'every store', left(credential, 8), token FROM fba.lwa_token
) AS kept
WHERE secret IS NOT NULL AND get_byte(secret || '\x00', 0) <> 128 AND substring(secret FOR 5) <> 'gAAAA'

-- name: check_digests
SELECT 'every store' AS store, name AS subject FROM fba.schema_version WHERE digest IS NULL
