-- name: forget_addresses
-- The address is not needed :addresses_days after the last shipment, or without one after Amazon or we decided on the request,
-- and in no case 90 days after it was written. Not while its feed is being written.
WITH due AS (
    SELECT r.store, r.fr_number
    FROM fba.fulfillment_request AS r
    LEFT JOIN LATERAL (
        SELECT max(i.ship_date) AS last_shipped FROM fba.shipment_item AS i
        WHERE i.store = r.store AND coalesce(i.fr_number, i.merchant_order_id) = r.fr_number
    ) AS s ON true
    WHERE num_nonnulls(r.ship_to_name, r.ship_to_address_1, r.ship_to_address_2, r.ship_to_city, r.ship_to_state,
                       r.ship_to_postal_code, r.ship_to_country, r.ship_to_email, r.ship_to_phone) > 0
      AND r.status <> 'sending'
      AND (coalesce(s.last_shipped, r.resolved_at) < clock_timestamp() - make_interval(days => %(addresses_days)s)
           OR r.created_at < clock_timestamp() - interval '90 days')
), forgotten AS (
    UPDATE fba.fulfillment_request AS r SET
        ship_to_name = NULL, ship_to_address_1 = NULL, ship_to_address_2 = NULL, ship_to_city = NULL, ship_to_state = NULL,
        ship_to_postal_code = NULL, ship_to_country = NULL, ship_to_email = NULL, ship_to_phone = NULL
    FROM due WHERE r.store = due.store AND r.fr_number = due.fr_number AND r.status <> 'sending'
    RETURNING r.store
)
SELECT store, count(*) FROM forgotten GROUP BY store

-- name: forget_documents
WITH old AS (
    DELETE FROM fba.report_document WHERE stored_at < clock_timestamp() - make_interval(days => %(raw_documents_days)s)
    RETURNING store, report_id
)
SELECT store, count(DISTINCT report_id) FROM old GROUP BY store

-- name: forget_rejected_lines
-- A line goes with the report it came from; reason and number stay.
WITH emptied AS (
    UPDATE fba.rejected_row AS line SET raw_line = NULL
    WHERE raw_line IS NOT NULL
      AND NOT EXISTS (SELECT FROM fba.report_document AS d WHERE d.store = line.store AND d.report_id = line.report_id)
    RETURNING store
)
SELECT store, count(*) FROM emptied GROUP BY store

-- name: forget_result_documents
WITH emptied AS (
    UPDATE fba.feed SET result_document = NULL
    WHERE result_document IS NOT NULL
      AND coalesce(finished_at, submitted_at, claimed_at) < clock_timestamp() - make_interval(days => %(raw_documents_days)s)
    RETURNING store
)
SELECT store, count(*) FROM emptied GROUP BY store
