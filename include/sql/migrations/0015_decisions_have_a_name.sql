-- A person's decision has a name in the timeline, and a request and its copies cannot be sent side by side.
ALTER TABLE fba.request_event ADD COLUMN actor text DEFAULT nullif(current_setting('fba.actor', true), '');
COMMENT ON COLUMN fba.request_event.actor IS
    'The user of Airflow who decided it on the FBA desk (the transaction''s fba.actor). Null: a run, Amazon, or SQL that did not say who.';

CREATE FUNCTION fba.has_address(store text, fr_number text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.ship_to_name IS NOT NULL AND r.ship_to_address_1 IS NOT NULL FROM fba.fulfillment_request AS r
    WHERE r.store = $1 AND r.fr_number = $2
$$;
COMMENT ON FUNCTION fba.has_address IS 'Whether a request still has its address, for who may not read that: without it, it cannot be sent again.';

-- As before, but the first request counts like its copies: one that was set back to pending after a copy was rejected may still be
-- sent. All of them are locked, so that none becomes pending between the look and the copy.
CREATE OR REPLACE FUNCTION fba.resend(store text, fr_number text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    old fba.fulfillment_request;
    root text;
    made text;
BEGIN
    SELECT coalesce(r.resend_of, r.fr_number) INTO root FROM fba.fulfillment_request AS r WHERE r.store = $1 AND r.fr_number = $2;
    IF root IS NULL THEN
        RAISE EXCEPTION 'Store % has no request %.', $1, $2;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('fba.resend'), hashtext($1 || E'\t' || root));
    PERFORM FROM fba.fulfillment_request AS r WHERE r.store = $1 AND (r.fr_number = root OR r.resend_of = root) ORDER BY r.fr_number FOR UPDATE;
    SELECT r.* INTO old FROM fba.fulfillment_request AS r WHERE r.store = $1 AND r.fr_number = $2;
    IF old.status NOT IN ('cancelled', 'rejected') THEN
        RAISE EXCEPTION 'Request % of % is %: only one that is cancelled or rejected can be sent again under another number.', $2, $1, old.status;
    END IF;
    IF old.ship_to_name IS NULL OR old.ship_to_address_1 IS NULL THEN
        RAISE EXCEPTION 'Request % of % has no address any more (retention): insert a new request instead.', $2, $1;
    END IF;
    SELECT r.fr_number INTO made FROM fba.fulfillment_request AS r
    WHERE r.store = $1 AND (r.fr_number = root OR r.resend_of = root) AND r.status NOT IN ('cancelled', 'rejected') LIMIT 1;
    IF made IS NOT NULL THEN
        RAISE EXCEPTION 'Request % of % has been sent again already, as %.', root, $1, made;
    END IF;
    SELECT root || '-' || min(n) INTO made FROM generate_series(2, 1000) AS n
    WHERE NOT EXISTS (SELECT FROM fba.fulfillment_request AS r WHERE r.store = $1 AND r.fr_number = root || '-' || n);
    INSERT INTO fba.fulfillment_request (store, fr_number, resend_of, shipping_method, displayable_order_number, ship_to_name,
        ship_to_address_1, ship_to_address_2, ship_to_address_3, ship_to_city, ship_to_state, ship_to_postal_code, ship_to_country,
        ship_to_email, ship_to_phone, order_comment, channel, packaging, block_amazon_logistics, signature, deliver_together, deliver_by)
    VALUES ($1, made, root, old.shipping_method, coalesce(old.displayable_order_number, root), old.ship_to_name,
        old.ship_to_address_1, old.ship_to_address_2, old.ship_to_address_3, old.ship_to_city, old.ship_to_state,
        old.ship_to_postal_code, old.ship_to_country, old.ship_to_email, old.ship_to_phone, old.order_comment, old.channel, old.packaging,
        old.block_amazon_logistics, old.signature, old.deliver_together, old.deliver_by);
    INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity, unit_price, title, upc, gift_message)
    SELECT i.store, made, i.line, i.sku, i.quantity, i.unit_price, i.title, i.upc, i.gift_message
    FROM fba.fulfillment_request_item AS i WHERE i.store = $1 AND i.fr_number = $2;
    UPDATE fba.fulfillment_request AS r SET acknowledged_at = clock_timestamp() WHERE r.store = $1 AND r.fr_number = $2;
    RETURN made;
END $$;
