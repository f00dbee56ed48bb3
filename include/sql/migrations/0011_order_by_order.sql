-- Requests go out order by order as well, say how they want to be sent, are priced before, and wait for approval where that is wanted.
ALTER TABLE fba.fulfillment_request
    ADD COLUMN channel text,
    ADD COLUMN packaging text CONSTRAINT packaging_is_known CHECK (packaging IN ('any', 'unbranded')),
    ADD COLUMN block_amazon_logistics boolean,
    ADD COLUMN signature boolean,
    ADD COLUMN deliver_together boolean,
    ADD COLUMN deliver_by timestamptz CONSTRAINT deliver_by_is_possible CHECK (deliver_by BETWEEN '2000-01-01' AND '2100-01-01'),
    ADD COLUMN transport text CONSTRAINT transport_is_known CHECK (transport IN ('feed', 'outbound')),
    ADD COLUMN speed text,
    ADD COLUMN approved_at timestamptz CONSTRAINT approved_at_is_possible CHECK (approved_at BETWEEN '2000-01-01' AND '2100-01-01'),
    ADD COLUMN approved_by text,
    ADD COLUMN approved_fee numeric,
    ADD COLUMN approval_asked_at timestamptz
        CONSTRAINT approval_asked_at_is_possible CHECK (approval_asked_at BETWEEN '2000-01-01' AND '2100-01-01');
COMMENT ON COLUMN fba.fulfillment_request.channel IS 'Where it was sold: a key of the store''s fulfillment.channels, whose wishes hold where its own are null.';
COMMENT ON COLUMN fba.fulfillment_request.packaging IS 'any, or unbranded: a box without Amazon''s name. Null: as the channel says.';
COMMENT ON COLUMN fba.fulfillment_request.block_amazon_logistics IS 'true: not by Amazon''s own carrier. Null: as the channel says.';
COMMENT ON COLUMN fba.fulfillment_request.signature IS 'true: the recipient has to sign. Null: as the channel says.';
COMMENT ON COLUMN fba.fulfillment_request.deliver_together IS 'true: all items arrive together. Null: as the channel says.';
COMMENT ON COLUMN fba.fulfillment_request.deliver_by IS 'When it must have arrived; compared with the latest arrival of the quote.';
COMMENT ON COLUMN fba.fulfillment_request.transport IS 'How it was sent (feed or outbound); filled when it is claimed.';
COMMENT ON COLUMN fba.fulfillment_request.speed IS 'Amazon''s speed with which it was sent; filled when it is claimed.';
COMMENT ON COLUMN fba.fulfillment_request.approved_at IS
    'Set by a person who approves it. Editing the request takes the approval back, and so does a fee above the one that was approved.';
COMMENT ON COLUMN fba.fulfillment_request.approved_fee IS
    'The fee that was quoted when it was approved; 0 if Amazon had named none, null if there was no quote yet.';
COMMENT ON COLUMN fba.fulfillment_request.approval_asked_at IS 'Since when it waits for an approval.';
COMMENT ON COLUMN fba.fulfillment_request.claim_id IS
    'What carries it: a feed (fba.feed) or an order (fba.outbound_order) of this claim; null while it is pending.';
COMMENT ON COLUMN fba.fulfillment_request.sent_at IS 'When the feed with it, or its order, was handed to Amazon.';
ALTER TABLE fba.fulfillment_request_item ADD COLUMN gift_message text;
COMMENT ON COLUMN fba.fulfillment_request_item.gift_message IS 'For the recipient, up to 512 characters. It is removed with the address.';

ALTER TABLE fba.fulfillment_request DISABLE TRIGGER USER;
UPDATE fba.fulfillment_request SET transport = 'feed' WHERE status NOT IN ('pending', 'invalid');
ALTER TABLE fba.fulfillment_request ENABLE TRIGGER USER;

-- One row for each time that a request is sent as an order of its own.
CREATE TABLE fba.outbound_order (
    claim_id uuid PRIMARY KEY,
    batch_id uuid NOT NULL,
    run_id text NOT NULL,
    store text NOT NULL,
    fr_number text NOT NULL,
    seller_id text NOT NULL,
    marketplace_id text NOT NULL,
    endpoint text NOT NULL,
    features text[] NOT NULL,
    held boolean NOT NULL,
    content_digest bytea NOT NULL,
    quoted_at timestamptz,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    intent_at timestamptz,
    answered_at timestamptz,
    settled_at timestamptz,
    lapsed_at timestamptz,
    FOREIGN KEY (store, fr_number) REFERENCES fba.fulfillment_request
);
CREATE INDEX outbound_order_by_request ON fba.outbound_order (store, fr_number);
CREATE INDEX outbound_order_open ON fba.outbound_order (store) WHERE settled_at IS NULL;
COMMENT ON TABLE fba.outbound_order IS
    'Every request that goes out as an order of its own (createFulfillmentOrder). intent_at is written before Amazon is called.';
COMMENT ON COLUMN fba.outbound_order.batch_id IS 'The requests that one run claimed together.';
COMMENT ON COLUMN fba.outbound_order.endpoint IS 'With seller_id and marketplace_id: where it was sent. Only there can the order be found or be absent.';
COMMENT ON COLUMN fba.outbound_order.features IS 'Amazon''s names of the wishes that it was sent with, all required.';
COMMENT ON COLUMN fba.outbound_order.held IS 'Amazon holds the order and reserves its stock, until it is released; not settled before.';
COMMENT ON COLUMN fba.outbound_order.content_digest IS 'SHA-256 of the order as it was claimed, compared once more before it is sent.';
COMMENT ON COLUMN fba.outbound_order.quoted_at IS 'When the quote was made that it goes with; null without one.';
COMMENT ON COLUMN fba.outbound_order.answered_at IS 'When Amazon took the order.';
COMMENT ON COLUMN fba.outbound_order.settled_at IS 'When nothing was left to do for it.';
COMMENT ON COLUMN fba.outbound_order.lapsed_at IS 'When Amazon was found to have let the hold lapse, after 14 days.';

CREATE TABLE fba.fulfillment_quote (
    store text NOT NULL,
    fr_number text NOT NULL,
    speed text NOT NULL,
    quoted_at timestamptz NOT NULL,
    features text[] NOT NULL DEFAULT '{}',
    fulfillable boolean NOT NULL,
    fee numeric,
    currency text,
    fees jsonb NOT NULL DEFAULT '[]',
    ship_earliest timestamptz,
    ship_latest timestamptz,
    arrive_earliest timestamptz,
    arrive_latest timestamptz,
    shipments integer NOT NULL DEFAULT 0,
    unfulfillable jsonb NOT NULL DEFAULT '[]',
    chosen boolean NOT NULL DEFAULT false,
    PRIMARY KEY (store, fr_number, speed),
    FOREIGN KEY (store, fr_number) REFERENCES fba.fulfillment_request ON DELETE CASCADE
);
COMMENT ON TABLE fba.fulfillment_quote IS
    'What Amazon said before an order was sent, for each speed: fees, dates, what cannot be fulfilled. Editing the request removes it.';
COMMENT ON COLUMN fba.fulfillment_quote.features IS 'Amazon''s names of the wishes it was asked with.';
COMMENT ON COLUMN fba.fulfillment_quote.fee IS 'Sum of all kinds of fees; null if Amazon names none, or one of them without an amount.';
COMMENT ON COLUMN fba.fulfillment_quote.fees IS 'List of kind, amount (null if not named) and currency.';
COMMENT ON COLUMN fba.fulfillment_quote.unfulfillable IS 'List of sku (null for the whole order) and reason, in Amazon''s codes.';
COMMENT ON COLUMN fba.fulfillment_quote.chosen IS 'The speed with which it is sent.';

CREATE TABLE fba.feature (
    store text NOT NULL,
    feature text NOT NULL,
    sku text NOT NULL,
    eligible boolean NOT NULL,
    reasons text,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (store, feature, sku)
);
COMMENT ON TABLE fba.feature IS 'What Amazon says about its features, for the seller (sku is empty) and for single SKUs. Asked again after a day.';
COMMENT ON COLUMN fba.feature.reasons IS 'Amazon''s codes, where it is not eligible.';

ALTER TABLE fba.feed_check ADD COLUMN orders_until timestamptz
    CONSTRAINT orders_until_is_possible CHECK (orders_until BETWEEN '2000-01-01' AND '2100-01-01');
COMMENT ON COLUMN fba.feed_check.orders_until IS
    'Until when (Amazon''s clock) Amazon''s orders were compared with the requests; null while the store sends nothing order by order.';

DO $$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT table_name AS t, column_name AS n FROM information_schema.columns
        WHERE table_schema = 'fba' AND table_name IN ('outbound_order', 'fulfillment_quote', 'feature') AND data_type = 'timestamp with time zone'
    LOOP
        EXECUTE format('ALTER TABLE fba.%I ADD CONSTRAINT %I CHECK (%I BETWEEN ''2000-01-01'' AND ''2100-01-01'')', c.t, c.n || '_is_possible', c.n);
    END LOOP;
END $$;

CREATE FUNCTION fba.guard_outbound_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.settled_at IS NULL AND OLD.intent_at IS NOT NULL THEN
        RAISE EXCEPTION 'The order of request % of % is not settled and cannot be deleted: what became of it is not known yet.', OLD.fr_number, OLD.store;
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER guard BEFORE DELETE ON fba.outbound_order FOR EACH ROW EXECUTE FUNCTION fba.guard_outbound_order();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON fba.outbound_order EXECUTE FUNCTION fba.guard_truncate();

CREATE OR REPLACE FUNCTION fba.is_stuck(store text, fr_number text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.status = 'unknown' AND r.stuck_since IS NOT NULL OR NOT EXISTS (
        SELECT FROM fba.feed AS f JOIN fba.feed_message AS m ON m.store = f.store AND m.document_id = f.document_id
        WHERE f.settled_at IS NULL AND m.store = $1 AND m.fr_number = $2
    ) AND NOT EXISTS (
        SELECT FROM fba.outbound_order AS o
        WHERE o.settled_at IS NULL AND o.store = $1 AND o.fr_number = $2 AND o.claim_id = r.claim_id)
    FROM fba.fulfillment_request AS r
    WHERE r.store = $1 AND r.fr_number = $2 AND r.status IN ('sending', 'submitted', 'unknown')
$$;
COMMENT ON FUNCTION fba.is_stuck IS 'Whether only a person can decide this request in flight: no open feed or order carries it, or a run has said so.';

-- As before, and: one order has its answer at once (sending to accepted or rejected); one that Amazon holds is submitted until it is
-- released or cancelled, and is found to be held after its answer was lost.
CREATE OR REPLACE FUNCTION fba.guard_request() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next_of CONSTANT jsonb := '{
        "pending": ["invalid", "sending"],
        "sending": ["submitted", "unknown", "pending", "accepted", "rejected"],
        "submitted": ["accepted", "rejected", "unknown", "pending", "cancelled"],
        "unknown": ["accepted", "rejected", "cancelled", "pending", "invalid", "submitted"],
        "accepted": ["rejected", "cancelled"],
        "invalid": ["pending"],
        "rejected": ["pending"],
        "cancelled": []}';
    by_hand CONSTANT jsonb := '{
        "sending": ["pending"],
        "submitted": ["accepted", "rejected", "pending"],
        "unknown": ["accepted", "rejected", "pending"],
        "invalid": ["pending"],
        "rejected": ["pending"]}';
    personal CONSTANT text[] := ARRAY['ship_to_name', 'ship_to_address_1', 'ship_to_address_2', 'ship_to_address_3', 'ship_to_city',
        'ship_to_state', 'ship_to_postal_code', 'ship_to_country', 'ship_to_email', 'ship_to_phone'];
    content CONSTANT text[] := ARRAY['store', 'fr_number', 'shipping_method', 'displayable_order_number', 'created_at', 'channel',
        'packaging', 'block_amazon_logistics', 'signature', 'deliver_together', 'deliver_by'];
    ours CONSTANT text[] := ARRAY['inserted_at', 'looked_up_at'];
    ours_in_flight CONSTANT text[] := ARRAY['seller_id', 'claim_id', 'stuck_since', 'unknown_since', 'transport', 'speed'];
    is_product CONSTANT boolean := fba.is_product();
    changed text;
    allowed jsonb;
    twin text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF fba.frozen(OLD.status) AND NOT fba.may_be_removed(OLD.status, OLD.resolved_at, OLD.created_at) THEN
            RAISE EXCEPTION 'Request % of % is % and cannot be deleted: Amazon has it or may have it. To stop it, set cancel_requested_at.',
                OLD.fr_number, OLD.store, OLD.status;
        END IF;
        RETURN OLD;
    END IF;

    IF NEW.status <> OLD.status THEN
        allowed := coalesce(CASE WHEN is_product THEN next_of -> OLD.status ELSE by_hand -> OLD.status END, '[]');
        IF NOT is_product AND OLD.status IN ('sending', 'submitted', 'unknown') AND NOT fba.is_stuck(OLD.store, OLD.fr_number) THEN
            RAISE EXCEPTION 'Request % of %: the column status cannot be set from % to % by hand%: %. A program that writes whole rows back must leave status out. To stop the request, set cancel_requested_at.',
                OLD.fr_number, OLD.store, OLD.status, NEW.status, CASE OLD.status WHEN 'unknown' THEN ' yet' ELSE '' END,
                CASE OLD.status WHEN 'unknown' THEN 'the runs of fba_send_fulfillment_requests still look for its order at Amazon'
                    ELSE 'it is on its way to Amazon' END;
        ELSIF NOT allowed ? NEW.status THEN
            RAISE EXCEPTION 'Request % of %: the column status cannot go from % to %; from % it can go to: % %', OLD.fr_number, OLD.store,
                OLD.status, NEW.status, OLD.status, coalesce(nullif(translate(allowed::text, '[]"', ''), ''), 'nothing'),
                CASE WHEN is_product THEN '' ELSE '(by hand). A program that writes whole rows back must leave status out.' END
                    || CASE WHEN is_product OR OLD.status IN ('cancelled', 'invalid', 'rejected') THEN '' ELSE ' To stop the request, set cancel_requested_at.' END;
        END IF;
        SELECT t.fr_number INTO twin FROM fba.fulfillment_request AS t
        WHERE NEW.status = 'pending' AND OLD.status IN ('invalid', 'rejected') AND t.store = OLD.store AND t.fr_number <> OLD.fr_number
          AND (t.resend_of = coalesce(OLD.resend_of, OLD.fr_number) OR t.fr_number = OLD.resend_of)
          AND t.status NOT IN ('cancelled', 'rejected') LIMIT 1;
        IF twin IS NOT NULL THEN
            RAISE EXCEPTION 'Request % of % cannot become pending: it was sent again as %, and would be shipped twice.', OLD.fr_number, OLD.store, twin;
        END IF;
    END IF;

    IF fba.frozen(OLD.status) THEN
        -- Retention may empty an address and the comment, but not while it is still to be sent.
        SELECT string_agg(o.key, ', ' ORDER BY o.key) INTO changed
        FROM jsonb_each(to_jsonb(OLD)) AS o
        JOIN jsonb_each(to_jsonb(NEW)) AS n ON n.key = o.key AND n.value <> o.value
        WHERE o.key = ANY (content) OR o.key = ANY (personal) AND (n.value <> 'null' OR OLD.status = 'sending')
           OR o.key = 'order_comment' AND (n.value <> 'null' OR OLD.status = 'sending' OR NOT is_product);
        IF changed IS NOT NULL THEN
            RAISE EXCEPTION 'Request % of % is %: its content is frozen (%). To stop it, set cancel_requested_at.',
                OLD.fr_number, OLD.store, OLD.status, changed;
        END IF;
    END IF;

    IF NOT is_product THEN
        SELECT string_agg(o.key, ', ' ORDER BY o.key) INTO changed
        FROM jsonb_each(to_jsonb(OLD)) AS o
        JOIN jsonb_each(to_jsonb(NEW)) AS n ON n.key = o.key AND n.value <> o.value
        WHERE o.key = ANY (ours) OR o.key = ANY (ours_in_flight) AND fba.frozen(OLD.status)
           OR o.key = 'absent_since' AND o.value = 'null'
           OR o.key IN ('approved_fee', 'approval_asked_at') AND n.value <> 'null';
        IF changed IS NOT NULL THEN
            RAISE EXCEPTION 'Request % of %: only the product writes %. A program that writes whole rows back must leave it out.',
                OLD.fr_number, OLD.store, changed;
        END IF;
    END IF;

    IF NEW.status <> OLD.status THEN
        NEW.resolved_at := CASE WHEN NEW.status IN ('invalid', 'accepted', 'rejected', 'cancelled') THEN clock_timestamp() END;
        NEW.unknown_since := CASE WHEN NEW.status = 'unknown' THEN clock_timestamp() END;
        IF NEW.status <> 'unknown' THEN
            NEW.absent_since := NULL;
            NEW.stuck_since := NULL;
        END IF;
        IF NEW.status NOT IN ('pending', 'sending') THEN
            NEW.waiting_since := NULL;
        END IF;
        IF NEW.status <> 'pending' THEN
            NEW.waiting_reason := NULL;
        ELSE
            NEW.sent_at := NULL;
            NEW.claim_id := NULL;
            NEW.transport := NULL;
            NEW.speed := NULL;
            IF OLD.status IN ('invalid', 'rejected') THEN  -- put right by hand: it begins anew
                NEW.status_reason := NULL;
                NEW.attempts := 0;
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION fba.guard_values() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(t.name, ', ' ORDER BY t.name) INTO wrong
    FROM (VALUES ('created_at', NEW.created_at), ('cancel_requested_at', NEW.cancel_requested_at), ('acknowledged_at', NEW.acknowledged_at),
                 ('inserted_at', NEW.inserted_at), ('sent_at', NEW.sent_at), ('resolved_at', NEW.resolved_at),
                 ('deliver_by', NEW.deliver_by), ('approved_at', NEW.approved_at)) AS t (name, value)
    WHERE NOT t.value BETWEEN '2000-01-01' AND '2100-01-01';
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'Request % of %: % must be a time between 2000-01-01 and 2100-01-01.', NEW.fr_number, NEW.store, wrong
            USING ERRCODE = 'check_violation';
    END IF;
    SELECT string_agg(t.name, ', ' ORDER BY t.name) INTO wrong
    FROM (VALUES ('store', NEW.store IS NULL), ('fr_number', NEW.fr_number IS NULL), ('created_at', NEW.created_at IS NULL),
                 ('status', NEW.status IS NULL), ('inserted_at', NEW.inserted_at IS NULL)) AS t (name, missing)
    WHERE t.missing;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'Request % of %: % must not be null; leave a column out to get its default.', NEW.fr_number, NEW.store, wrong
            USING ERRCODE = 'not_null_violation';
    END IF;
    IF NEW.attempts < 0 THEN
        RAISE EXCEPTION 'Request % of %: attempts must not be negative.', NEW.fr_number, NEW.store USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.packaging NOT IN ('any', 'unbranded') THEN
        RAISE EXCEPTION 'Request % of %: packaging must be any or unbranded, or null for what its channel says.', NEW.fr_number, NEW.store
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION fba.guard_item() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner record;
BEGIN
    -- FOR SHARE: whoever claims the request waits for this item or skips the request, and this item waits for who claims.
    FOR owner IN
        SELECT store, fr_number, status, resolved_at, created_at FROM fba.fulfillment_request
        WHERE TG_OP <> 'INSERT' AND (store, fr_number) = (OLD.store, OLD.fr_number)
           OR TG_OP <> 'DELETE' AND (store, fr_number) = (NEW.store, NEW.fr_number)
        FOR SHARE
    LOOP
        IF fba.frozen(owner.status)
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

-- An approval holds for what was approved, and a quote for what was quoted.
CREATE FUNCTION fba.guard_approval() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    content CONSTANT text[] := ARRAY['store', 'fr_number', 'shipping_method', 'displayable_order_number', 'created_at', 'channel',
        'packaging', 'block_amazon_logistics', 'signature', 'deliver_together', 'deliver_by', 'ship_to_name', 'ship_to_address_1',
        'ship_to_address_2', 'ship_to_address_3', 'ship_to_city', 'ship_to_state', 'ship_to_postal_code', 'ship_to_country',
        'ship_to_email', 'ship_to_phone', 'order_comment'];
BEGIN
    IF NOT fba.frozen(OLD.status) AND EXISTS (
        SELECT FROM jsonb_each(to_jsonb(OLD)) AS o JOIN jsonb_each(to_jsonb(NEW)) AS n ON n.key = o.key AND n.value <> o.value
        WHERE o.key = ANY (content)) THEN
        DELETE FROM fba.fulfillment_quote AS q WHERE q.store = OLD.store AND q.fr_number = OLD.fr_number;
        NEW.approval_asked_at := NULL;
        IF NEW.approved_at IS NOT DISTINCT FROM OLD.approved_at THEN
            NEW.approved_at := NULL;
        END IF;
    END IF;
    IF NEW.approved_at IS NULL THEN
        NEW.approved_by := NULL;
        NEW.approved_fee := NULL;
    ELSIF NEW.approved_at IS DISTINCT FROM OLD.approved_at THEN
        NEW.approved_fee := (SELECT coalesce(q.fee, 0) FROM fba.fulfillment_quote AS q
                             WHERE q.store = NEW.store AND q.fr_number = NEW.fr_number AND q.chosen LIMIT 1);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER z_approval BEFORE UPDATE ON fba.fulfillment_request FOR EACH ROW EXECUTE FUNCTION fba.guard_approval();

CREATE FUNCTION fba.guard_item_approval() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed record;
BEGIN
    FOR changed IN
        SELECT r.store, r.fr_number FROM fba.fulfillment_request AS r
        WHERE (TG_OP <> 'INSERT' AND (r.store, r.fr_number) = (OLD.store, OLD.fr_number)
               OR TG_OP <> 'DELETE' AND (r.store, r.fr_number) = (NEW.store, NEW.fr_number))
          AND NOT fba.frozen(r.status) AND r.inserted_at <> now()  -- inserted together, it was approved as a whole
    LOOP
        DELETE FROM fba.fulfillment_quote AS q WHERE q.store = changed.store AND q.fr_number = changed.fr_number;
        UPDATE fba.fulfillment_request AS r SET approved_at = NULL, approval_asked_at = NULL
        WHERE r.store = changed.store AND r.fr_number = changed.fr_number AND num_nonnulls(r.approved_at, r.approval_asked_at) > 0;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER z_approval AFTER INSERT OR UPDATE OR DELETE ON fba.fulfillment_request_item
    FOR EACH ROW EXECUTE FUNCTION fba.guard_item_approval();

CREATE OR REPLACE FUNCTION fba.resend(store text, fr_number text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    old fba.fulfillment_request;
    root text;
    made text;
BEGIN
    SELECT r.* INTO old FROM fba.fulfillment_request AS r WHERE r.store = $1 AND r.fr_number = $2 FOR UPDATE;
    IF old.fr_number IS NULL THEN
        RAISE EXCEPTION 'Store % has no request %.', $1, $2;
    END IF;
    IF old.status NOT IN ('cancelled', 'rejected') THEN
        RAISE EXCEPTION 'Request % of % is %: only one that is cancelled or rejected can be sent again under another number.', $2, $1, old.status;
    END IF;
    IF old.ship_to_name IS NULL OR old.ship_to_address_1 IS NULL THEN
        RAISE EXCEPTION 'Request % of % has no address any more (retention): insert a new request instead.', $2, $1;
    END IF;
    root := coalesce(old.resend_of, old.fr_number);
    PERFORM pg_advisory_xact_lock(hashtext('fba.resend'), hashtext($1 || E'\t' || root));
    SELECT r.fr_number INTO made FROM fba.fulfillment_request AS r
    WHERE r.store = $1 AND r.resend_of = root AND r.status NOT IN ('cancelled', 'rejected') LIMIT 1;
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

CREATE FUNCTION fba.is_amazon_logistics(carrier text, tracking_number text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(regexp_replace(upper(carrier), '[^A-Z]', '', 'g') ~ '^(AMZN|AMZL|AMAZON)' OR tracking_number ~ '^TB[A-Z][0-9]{6,}$', false)
$$;
COMMENT ON FUNCTION fba.is_amazon_logistics IS 'Whether a parcel goes by Amazon''s own carrier: AMZN_US, AMZL, Amazon Logistics, or a number like TBA123456789.';
