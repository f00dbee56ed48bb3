-- The database guards orders against everybody, and knows the product from everybody else; a request names the feed that
-- carries it; what other programs send through the same seller is remembered.
ALTER TABLE fba.fulfillment_request
    ADD COLUMN ship_to_address_3 text,
    ADD COLUMN displayable_order_number text,
    ADD COLUMN resend_of text,
    ADD COLUMN claim_id uuid,
    ADD COLUMN inserted_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN waiting_since timestamptz,
    ADD COLUMN unknown_since timestamptz,
    ADD COLUMN stuck_since timestamptz,
    ADD COLUMN looked_up_at timestamptz;
COMMENT ON COLUMN fba.fulfillment_request.displayable_order_number IS 'The order number on the packing slip; empty: fr_number.';
COMMENT ON COLUMN fba.fulfillment_request.resend_of IS 'The request that this one replaces; see fba.resend.';
COMMENT ON COLUMN fba.fulfillment_request.claim_id IS 'The feed that carries it (fba.feed.claim_id); null while it is pending.';
COMMENT ON COLUMN fba.fulfillment_request.inserted_at IS 'When it came into this table, by this database''s clock.';
COMMENT ON COLUMN fba.fulfillment_request.waiting_since IS
    'Since when it waits although neither hold_hours nor business hours nor a run by hand are what it waits for.';
COMMENT ON COLUMN fba.fulfillment_request.unknown_since IS 'When it became unknown.';
COMMENT ON COLUMN fba.fulfillment_request.stuck_since IS 'Since when only a person can say what became of this unknown request.';
COMMENT ON COLUMN fba.fulfillment_request.looked_up_at IS 'When Amazon was last asked for its number before it was sent, and had no order.';
CREATE INDEX fulfillment_request_resent ON fba.fulfillment_request (store, resend_of) WHERE resend_of IS NOT NULL;

ALTER TABLE fba.feed
    ADD COLUMN seller_id text,
    ADD COLUMN marketplace_id text,
    ADD COLUMN endpoint text,
    ADD COLUMN document_digest bytea,
    ADD COLUMN set_aside_at timestamptz;
COMMENT ON COLUMN fba.feed.seller_id IS 'With marketplace_id and endpoint: where it was sent. Only there can its orders be found or be absent.';
COMMENT ON COLUMN fba.feed.document_digest IS 'SHA-256 of the uploaded document, compared with the requests once more before createFeed.';
COMMENT ON COLUMN fba.feed.set_aside_at IS 'Since when it no longer holds up other requests, because Amazon has not finished it for four hours.';
DROP INDEX fba.one_open_feed_per_store;
CREATE UNIQUE INDEX one_open_feed_per_store ON fba.feed (store) WHERE settled_at IS NULL AND set_aside_at IS NULL;

CREATE TABLE fba.feed_check (
    store text PRIMARY KEY,
    checked_until timestamptz NOT NULL,
    token uuid NOT NULL,
    last_claim uuid
);
COMMENT ON COLUMN fba.feed_check.last_claim IS 'The newest feed of fba.feed then: if it is not there any more, tables were put back and all is compared anew.';
COMMENT ON TABLE fba.feed_check IS
    'Until when (Amazon''s clock) Amazon''s feeds were compared with fba.feed. A restored backup has an old one, so what was forgotten is found.';
COMMENT ON COLUMN fba.feed_check.token IS 'Of the last comparison: createFeed is called only if it still stands here.';
CREATE TABLE fba.foreign_feed (
    store text NOT NULL,
    feed_id text NOT NULL,
    created_at timestamptz,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    cleared_at timestamptz,
    PRIMARY KEY (store, feed_id)
);
CREATE INDEX foreign_feed_open ON fba.foreign_feed (store) WHERE cleared_at IS NULL;
COMMENT ON TABLE fba.foreign_feed IS
    'Feeds of orders at Amazon that fba.feed does not know: another program''s, or ours from before a restored backup.';
COMMENT ON COLUMN fba.foreign_feed.ended_at IS 'When we first saw it finished, by this database''s clock.';
COMMENT ON COLUMN fba.foreign_feed.cleared_at IS 'When Amazon''s list of orders was read long enough after its end.';
CREATE TABLE fba.order_at_amazon (
    store text NOT NULL,
    fr_number text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (store, fr_number)
);
COMMENT ON TABLE fba.order_at_amazon IS
    'Numbers of orders found at Amazon that no request of fba.fulfillment_request accounts for; looked up before such a number is sent.';

CREATE TABLE fba.removed_request (
    fr_number text NOT NULL,
    store text NOT NULL,
    seller_id text,
    removed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (fr_number, store)
);
COMMENT ON TABLE fba.removed_request IS
    'Numbers of closed requests that were removed with their age (data_months). A request that comes under such a number again is not sent.';

ALTER TABLE fba.store
    ADD COLUMN client_secret_expires_at timestamptz,
    ADD COLUMN refresh_token_expires_at timestamptz;
COMMENT ON COLUMN fba.store.client_secret_expires_at IS '180 days after the connection''s client_secret_created; null where it has none.';
COMMENT ON COLUMN fba.store.refresh_token_expires_at IS '365 days after the connection''s authorized_at; null where it has none.';

-- What retention looks for in every run. The first holds the requests with an address or a text that may quote one; its
-- condition is that of runs.remove_addresses, word for word.
CREATE INDEX fulfillment_request_personal ON fba.fulfillment_request (created_at)
    WHERE num_nonnulls(ship_to_name, ship_to_address_1, ship_to_address_2, ship_to_address_3, ship_to_city, ship_to_state,
                       ship_to_postal_code, ship_to_country, ship_to_email, ship_to_phone, order_comment,
                       nullif(right(status_reason, 24), 'removed with the address')) > 0;
CREATE INDEX fulfillment_request_by_age ON fba.fulfillment_request (coalesce(resolved_at, created_at))
    WHERE status IN ('accepted', 'cancelled', 'rejected', 'invalid');
CREATE INDEX feed_by_age ON fba.feed (settled_at);
CREATE INDEX feed_with_document ON fba.feed (coalesce(finished_at, submitted_at, claimed_at)) WHERE result_document IS NOT NULL;
CREATE INDEX shipments_by_age ON fba.amazon_fulfilled_shipments_report (shipment_date);
CREATE INDEX report_by_age ON fba.report (requested_at);
CREATE INDEX run_by_age ON fba.run (started_at);

-- What only the product may do is told apart by a setting of its transactions and, where roles.sql was run, by its role.
CREATE FUNCTION fba.is_product() RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(current_setting('fba.writer', true), '') = 'product'
       AND coalesce((SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = 'fba_product'), true)
$$;

-- At least as long as Amazon wants logs kept, and longer than any order or feed can still change.
CREATE FUNCTION fba.may_be_removed(status text, resolved_at timestamptz, created_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT status IN ('accepted', 'cancelled') AND coalesce(resolved_at, created_at) < now() - interval '12 months' AND fba.is_product()
$$;
COMMENT ON FUNCTION fba.may_be_removed IS 'Whether retention may delete a request that Amazon has or had.';

CREATE FUNCTION fba.is_stuck(store text, fr_number text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.status = 'unknown' AND r.stuck_since IS NOT NULL OR NOT EXISTS (
        SELECT FROM fba.feed AS f JOIN fba.feed_message AS m ON m.store = f.store AND m.document_id = f.document_id
        WHERE f.settled_at IS NULL AND m.store = $1 AND m.fr_number = $2)
    FROM fba.fulfillment_request AS r
    WHERE r.store = $1 AND r.fr_number = $2 AND r.status IN ('sending', 'submitted', 'unknown')
$$;
COMMENT ON FUNCTION fba.is_stuck IS 'Whether only a person can decide this request in flight: no open feed carries it, or a run has said so.';

CREATE OR REPLACE FUNCTION fba.guard_request() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    next_of CONSTANT jsonb := '{
        "pending": ["invalid", "sending"],
        "sending": ["submitted", "unknown", "pending"],
        "submitted": ["accepted", "rejected", "unknown", "pending"],
        "unknown": ["accepted", "rejected", "cancelled", "pending", "invalid"],
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
    content CONSTANT text[] := ARRAY['store', 'fr_number', 'shipping_method', 'displayable_order_number', 'created_at'];
    ours CONSTANT text[] := ARRAY['inserted_at', 'looked_up_at'];
    ours_in_flight CONSTANT text[] := ARRAY['seller_id', 'claim_id', 'stuck_since', 'unknown_since'];
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
        -- Retention may empty an address and the comment, but not while the feed with them is still to be written.
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
           OR o.key = 'absent_since' AND o.value = 'null';
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
            IF OLD.status IN ('invalid', 'rejected') THEN  -- put right by hand: it begins anew
                NEW.status_reason := NULL;
                NEW.attempts := 0;
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END $$;

-- The same as the constraints, for texts that say what is wrong and do not quote the row: a constraint's DETAIL has the address.
CREATE FUNCTION fba.guard_values() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(t.name, ', ' ORDER BY t.name) INTO wrong
    FROM (VALUES ('created_at', NEW.created_at), ('cancel_requested_at', NEW.cancel_requested_at), ('acknowledged_at', NEW.acknowledged_at),
                 ('inserted_at', NEW.inserted_at), ('sent_at', NEW.sent_at), ('resolved_at', NEW.resolved_at)) AS t (name, value)
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
    RETURN NEW;
END $$;
CREATE TRIGGER a_values BEFORE INSERT OR UPDATE ON fba.fulfillment_request FOR EACH ROW EXECUTE FUNCTION fba.guard_values();

CREATE FUNCTION fba.guard_item_values() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.unit_price IN ('NaN', 'Infinity', '-Infinity') THEN
        RAISE EXCEPTION 'Request % of %, line %: unit_price must be a finite number, or null where it is not known.', NEW.fr_number, NEW.store, NEW.line
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.quantity <= 0 THEN
        RAISE EXCEPTION 'Request % of %, line %: quantity must be 1 or more.', NEW.fr_number, NEW.store, NEW.line USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_values BEFORE INSERT OR UPDATE ON fba.fulfillment_request_item FOR EACH ROW EXECUTE FUNCTION fba.guard_item_values();
CREATE OR REPLACE FUNCTION fba.guard_item() RETURNS trigger LANGUAGE plpgsql AS $$
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
           AND NOT (TG_OP = 'DELETE' AND fba.may_be_removed(owner.status, owner.resolved_at, owner.created_at)) THEN
            RAISE EXCEPTION 'Request % of % is %: its items are frozen. To stop it, set cancel_requested_at.',
                owner.fr_number, owner.store, owner.status;
        END IF;
    END LOOP;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION fba.guard_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept record;
BEGIN
    SELECT fr_number, store, status INTO kept FROM fba.fulfillment_request WHERE fba.frozen(status) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% cannot be truncated: request % of % is %, so Amazon has it or may have it.',
            TG_TABLE_NAME, kept.fr_number, kept.store, kept.status;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON fba.fulfillment_request EXECUTE FUNCTION fba.guard_truncate();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON fba.fulfillment_request_item EXECUTE FUNCTION fba.guard_truncate();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON fba.feed EXECUTE FUNCTION fba.guard_truncate();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON fba.feed_message EXECUTE FUNCTION fba.guard_truncate();

CREATE FUNCTION fba.guard_feed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.settled_at IS NULL THEN
        RAISE EXCEPTION 'Feed % of % is not settled and cannot be deleted: what became of its requests is not known yet.', OLD.document_id, OLD.store;
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER guard BEFORE DELETE ON fba.feed FOR EACH ROW EXECUTE FUNCTION fba.guard_feed();

CREATE FUNCTION fba.guard_feed_message() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM fba.feed AS f WHERE f.store = OLD.store AND f.document_id = OLD.document_id AND f.settled_at IS NULL) THEN
        RAISE EXCEPTION 'Message % of feed % of % cannot be deleted before the feed is settled: it says which request Amazon was sent.',
            OLD.message_id, OLD.document_id, OLD.store;
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER guard BEFORE DELETE ON fba.feed_message FOR EACH ROW EXECUTE FUNCTION fba.guard_feed_message();
-- The rules must not be looked up in what the caller has made: it could have a pg_roles of its own.
ALTER FUNCTION fba.guard_request() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION fba.guard_item() SET search_path = pg_catalog, pg_temp;

-- What older versions wrote: which feed carries a request, and since when an unknown one is unknown.
ALTER TABLE fba.fulfillment_request DISABLE TRIGGER USER;
UPDATE fba.fulfillment_request AS r SET claim_id = latest.claim_id
FROM (
    SELECT DISTINCT ON (m.store, m.fr_number) m.store, m.fr_number, f.claim_id
    FROM fba.feed AS f JOIN fba.feed_message AS m USING (store, document_id)
    ORDER BY m.store, m.fr_number, f.claimed_at DESC
) AS latest
WHERE r.store = latest.store AND r.fr_number = latest.fr_number AND r.status IN ('sending', 'submitted', 'unknown');
UPDATE fba.fulfillment_request SET unknown_since = coalesce(sent_at, now()) WHERE status = 'unknown';
UPDATE fba.fulfillment_request SET inserted_at = least(created_at, now()) WHERE created_at BETWEEN '2000-01-01' AND '2100-01-01';

-- Texts of Amazon's that may quote an address which is no longer there.
UPDATE fba.feed_message AS m SET description = NULL FROM fba.fulfillment_request AS r
WHERE r.store = m.store AND r.fr_number = m.fr_number AND m.description IS NOT NULL
  AND num_nonnulls(r.ship_to_name, r.ship_to_address_1, r.ship_to_address_2, r.ship_to_address_3, r.ship_to_city, r.ship_to_state,
                   r.ship_to_postal_code, r.ship_to_country, r.ship_to_email, r.ship_to_phone) = 0;

-- Times are finite and possible, prices are numbers. What is not is put right, and a request that it was in must be looked at.
UPDATE fba.fulfillment_request SET created_at = now(), inserted_at = now(),
    status = CASE WHEN status = 'pending' THEN 'invalid' ELSE status END,
    status_reason = CASE WHEN status = 'pending' THEN 'created_at was ' || created_at || ', which cannot be; now it is the time of the upgrade' ELSE status_reason END,
    resolved_at = CASE WHEN status = 'pending' THEN now() ELSE resolved_at END
WHERE NOT created_at BETWEEN '2000-01-01' AND '2100-01-01';
ALTER TABLE fba.fulfillment_request ENABLE TRIGGER USER;
ALTER TABLE fba.fulfillment_request_item DISABLE TRIGGER USER;
UPDATE fba.fulfillment_request_item SET unit_price = NULL WHERE unit_price IN ('NaN', 'Infinity', '-Infinity');
ALTER TABLE fba.fulfillment_request_item ENABLE TRIGGER USER;
ALTER TABLE fba.fulfillment_request_item ADD CONSTRAINT unit_price_is_finite CHECK (unit_price > '-Infinity' AND unit_price < 'Infinity');

DO $$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT table_name AS t, column_name AS n, is_nullable = 'YES' AS nullable FROM information_schema.columns
        JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_schema = 'fba' AND table_type = 'BASE TABLE' AND data_type = 'timestamp with time zone' AND is_generated = 'NEVER'
        ORDER BY table_name, column_name
    LOOP
        EXECUTE format('ALTER TABLE fba.%I DISABLE TRIGGER USER', c.t);
        EXECUTE format('UPDATE fba.%I SET %I = %s WHERE NOT %I BETWEEN ''2000-01-01'' AND ''2100-01-01''',
            c.t, c.n, CASE WHEN c.nullable THEN 'NULL' ELSE 'now()' END, c.n);
        EXECUTE format('ALTER TABLE fba.%I ENABLE TRIGGER USER', c.t);
        EXECUTE format('ALTER TABLE fba.%I ADD CONSTRAINT %I CHECK (%I BETWEEN ''2000-01-01'' AND ''2100-01-01'')',
            c.t, c.n || '_is_possible', c.n);
    END LOOP;
END $$;

-- A stray tab may have put a buyer's telephone number there.
UPDATE fba.rejected_row AS line SET sku = NULL FROM fba.report AS r
WHERE r.store = line.store AND r.report_id = line.report_id AND r.report_type = 'GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL'
  AND line.sku IS NOT NULL;

-- A copy of a request that Amazon will not ship any more, under a number of its own.
CREATE FUNCTION fba.resend(store text, fr_number text) RETURNS text LANGUAGE plpgsql AS $$
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
        ship_to_email, ship_to_phone, order_comment)
    VALUES ($1, made, root, old.shipping_method, coalesce(old.displayable_order_number, root), old.ship_to_name,
        old.ship_to_address_1, old.ship_to_address_2, old.ship_to_address_3, old.ship_to_city, old.ship_to_state,
        old.ship_to_postal_code, old.ship_to_country, old.ship_to_email, old.ship_to_phone, old.order_comment);
    INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity, unit_price, title, upc)
    SELECT i.store, made, i.line, i.sku, i.quantity, i.unit_price, i.title, i.upc
    FROM fba.fulfillment_request_item AS i WHERE i.store = $1 AND i.fr_number = $2;
    UPDATE fba.fulfillment_request AS r SET acknowledged_at = clock_timestamp() WHERE r.store = $1 AND r.fr_number = $2;
    RETURN made;
END $$;
COMMENT ON FUNCTION fba.resend IS
    'Sends a cancelled or rejected request again: a copy under <fr_number>-2 (-3 ...), pending, linked by resend_of. Returns its number.';
