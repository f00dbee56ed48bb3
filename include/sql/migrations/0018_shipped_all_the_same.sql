-- A request that is cancelled or rejected here and of which units leave Amazon all the same is told, and is not sent again whole.
CREATE FUNCTION fba.has_shipped(store text, fr_number text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM fba.package AS p WHERE p.store = $1 AND p.fr_number = $2 AND fba.has_left(p.status, p.ship_date)
    ) OR EXISTS (
        SELECT FROM fba.shipment_item AS i WHERE i.store = $1 AND coalesce(i.fr_number, i.merchant_order_id) = $2 AND i.quantity > 0)
$$;
COMMENT ON FUNCTION fba.has_shipped IS 'Whether units of a request have left Amazon, by its order or by a shipments report.';

CREATE FUNCTION fba.shipped_all_the_same(reason text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 'Units of it have left Amazon all the same: insert what is missing as a new request, and do not send this one again.'
        || coalesce(' Before: ' || reason, '')
$$;
CREATE FUNCTION fba.is_told_as_shipped(reason text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(starts_with(reason, 'Units of it have left Amazon'), false)
$$;

CREATE FUNCTION fba.end_of_shipped() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF fba.has_shipped(NEW.store, NEW.fr_number) THEN
        NEW.status_reason := fba.shipped_all_the_same(NEW.status_reason);
        NEW.acknowledged_at := NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER shipped_all_the_same BEFORE UPDATE OF status ON fba.fulfillment_request FOR EACH ROW
    WHEN (NEW.status IN ('cancelled', 'rejected') AND NEW.status <> OLD.status) EXECUTE FUNCTION fba.end_of_shipped();

CREATE FUNCTION fba.shipped_after_its_end() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE fba.fulfillment_request AS r SET status_reason = fba.shipped_all_the_same(r.status_reason), acknowledged_at = NULL
    WHERE r.store = NEW.store AND r.fr_number = NEW.fr_number AND r.status IN ('cancelled', 'rejected')
      AND NOT fba.is_told_as_shipped(r.status_reason);
    RETURN NULL;
END $$;
CREATE TRIGGER shipped_after_its_end AFTER INSERT OR UPDATE OF status, ship_date ON fba.package FOR EACH ROW
    WHEN (fba.has_left(NEW.status, NEW.ship_date)) EXECUTE FUNCTION fba.shipped_after_its_end();

CREATE FUNCTION fba.never_asked_to_cancel(status text, reason text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT status <> 'unknown' AND NOT coalesce(reason ~ '^(not cancelled|Amazon has taken the cancellation)', false)
$$;

CREATE INDEX fulfillment_request_ended_by_amazon ON fba.fulfillment_request (store) WHERE status = 'cancelled' AND status_reason IS NOT NULL;
CREATE INDEX fulfillment_request_partly_shipped ON fba.fulfillment_request (store) WHERE amazon_order_status = 'CompletePartialled';

-- As before, but not where the buyer gets a part of it already.
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
    SELECT r.fr_number INTO made FROM fba.fulfillment_request AS r
    WHERE r.store = $1 AND (r.fr_number = root OR r.resend_of = root) AND fba.has_shipped(r.store, r.fr_number) LIMIT 1;
    IF made IS NOT NULL THEN
        RAISE EXCEPTION 'Units of request % of % have left Amazon: insert what is still missing as a new request.', made, $1;
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

-- As before, but a request that is inserted as accepted, say, can have items: in the transaction that inserts it.
CREATE OR REPLACE FUNCTION fba.guard_item() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner record;
BEGIN
    -- FOR SHARE: whoever claims the request waits for this item or skips the request, and this item waits for who claims.
    FOR owner IN
        SELECT store, fr_number, status, resolved_at, created_at, inserted_at, claim_id FROM fba.fulfillment_request
        WHERE TG_OP <> 'INSERT' AND (store, fr_number) = (OLD.store, OLD.fr_number)
           OR TG_OP <> 'DELETE' AND (store, fr_number) = (NEW.store, NEW.fr_number)
        FOR SHARE
    LOOP
        IF fba.frozen(owner.status)
           -- A request that is taken over from another system comes with its items.
           AND NOT (TG_OP = 'INSERT' AND owner.inserted_at >= transaction_timestamp() AND owner.claim_id IS NULL)
           AND NOT (TG_OP = 'DELETE' AND fba.may_be_removed(owner.status, owner.resolved_at, owner.created_at))
           -- Retention may empty a gift message, as it does an address.
           AND NOT (TG_OP = 'UPDATE' AND owner.status <> 'sending' AND fba.is_product()
                    AND to_jsonb(NEW) = to_jsonb(OLD) || '{"gift_message": null}') THEN
            RAISE EXCEPTION 'Request % of % is %: its items are frozen. To stop it, set cancel_requested_at.',
                owner.fr_number, owner.store, owner.status;
        END IF;
    END LOOP;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;
