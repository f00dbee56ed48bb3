-- As before, but a later report may give two parcels that were told already one number: one of their events gets it.
CREATE OR REPLACE FUNCTION fba.record_shipments() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told record;
BEGIN
    FOR told IN
        SELECT n.store, array_agg(DISTINCT r.fr_number) AS numbers
        FROM new_items AS n JOIN fba.fulfillment_request AS r ON r.store = n.store AND r.fr_number = coalesce(n.fr_number, n.merchant_order_id)
        GROUP BY n.store
    LOOP
        IF TG_OP = 'UPDATE' THEN  -- a number that was put right, or is known only now, is the same parcel
            UPDATE fba.request_event AS e SET package_key = c.new_key
            FROM (
                SELECT DISTINCT ON (store, number, new_key) store, number, new_key, old_key FROM (
                    SELECT o.store, coalesce(o.fr_number, o.merchant_order_id) AS number, nullif(btrim(o.tracking_number), '') AS old_key,
                           fba.reported_parcel(n.store, coalesce(n.fr_number, n.merchant_order_id), n.tracking_number) AS new_key
                    FROM old_items AS o JOIN new_items AS n USING (store, item_key)
                    WHERE o.tracking_number IS DISTINCT FROM n.tracking_number
                ) AS told_anew ORDER BY store, number, new_key, old_key
            ) AS c
            WHERE e.store = c.store AND e.fr_number = c.number AND e.what = 'shipped' AND e.source = 'report'
              AND e.package_key IS NOT DISTINCT FROM c.old_key AND c.new_key IS NOT NULL
              AND NOT EXISTS (
                SELECT FROM fba.request_event AS d WHERE d.store = c.store AND d.fr_number = c.number AND d.what = 'shipped' AND d.package_key = c.new_key)
              AND NOT EXISTS (
                SELECT FROM fba.shipment_item AS s WHERE s.store = c.store AND coalesce(s.fr_number, s.merchant_order_id) = c.number
                  AND nullif(btrim(s.tracking_number), '') IS NOT DISTINCT FROM c.old_key);
        END IF;
        PERFORM fba.record_reported(told.store, told.numbers);
        UPDATE fba.tracked_order AS t SET compared = false WHERE t.store = told.store AND t.fr_number = ANY (told.numbers) AND t.compared;
    END LOOP;
    RETURN NULL;
END $$;

-- What was counted as wholly shipped before a parcel under two names counted once.
DELETE FROM fba.wholly_shipped;
