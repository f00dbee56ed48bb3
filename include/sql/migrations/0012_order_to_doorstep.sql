-- fba_track_orders: every request from the merchant's order to the doorstep, as Amazon's orders tell it; and its timeline.
CREATE TABLE fba.order_cursor (
    store text PRIMARY KEY,
    read_until timestamptz NOT NULL,
    read_at timestamptz,
    without_list_since timestamptz
);
COMMENT ON TABLE fba.order_cursor IS 'How far the list of changed orders (listOrders, Fulfillment Outbound 2026-07-04) was read.';
COMMENT ON COLUMN fba.order_cursor.read_until IS
    'Where the next reading begins: when the last one that came to the end began, minus five minutes.';
COMMENT ON COLUMN fba.order_cursor.read_at IS 'When that reading began, by this database''s clock; null: none came to the end yet.';
COMMENT ON COLUMN fba.order_cursor.without_list_since IS
    'Since when Amazon answers that the account has no such list, so that orders are asked for one by one; null: it has it.';

-- They go with their request, and follow it while its number can still be changed.
CREATE TABLE fba.tracked_order (
    store text NOT NULL,
    fr_number text NOT NULL,
    read_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    amazon_updated_at timestamptz,
    arrives_by timestamptz,
    finished boolean NOT NULL DEFAULT false,
    compared boolean NOT NULL DEFAULT false,
    differs_since timestamptz,
    PRIMARY KEY (store, fr_number),
    FOREIGN KEY (store, fr_number) REFERENCES fba.fulfillment_request ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX tracked_order_to_compare ON fba.tracked_order (store) WHERE NOT compared;
CREATE INDEX tracked_order_differing ON fba.tracked_order (store) WHERE differs_since IS NOT NULL;
CREATE INDEX tracked_order_promised ON fba.tracked_order (store) WHERE arrives_by IS NOT NULL AND NOT finished;
COMMENT ON TABLE fba.tracked_order IS 'What Amazon''s order of a request said last.';
COMMENT ON COLUMN fba.tracked_order.read_at IS 'When Amazon was asked, by this database''s clock; an answer to an earlier question changes nothing.';
COMMENT ON COLUMN fba.tracked_order.changed_at IS 'When the status of a parcel or Amazon''s time of update was last another than before.';
COMMENT ON COLUMN fba.tracked_order.amazon_updated_at IS 'When Amazon says that the order''s status last changed.';
COMMENT ON COLUMN fba.tracked_order.arrives_by IS 'The latest arrival that Amazon promises for shipments without parcels yet.';
COMMENT ON COLUMN fba.tracked_order.finished IS 'Amazon is not asked for it any more: nothing more ships, and no parcel is on its way.';
COMMENT ON COLUMN fba.tracked_order.compared IS 'Whether report and order were compared since one of them last said something new.';
COMMENT ON COLUMN fba.tracked_order.differs_since IS 'Since when the shipments report and the order disagree about what was shipped.';

CREATE TABLE fba.package (
    store text NOT NULL,
    fr_number text NOT NULL,
    package_key text NOT NULL,
    carrier text,
    tracking_number text,
    tracking_url text,
    amazon_tracking_number text,
    package_id text,
    shipment_id text,
    status text CHECK (status IN ('PROCESSING', 'IN_TRANSIT', 'DELAYED', 'OUT_FOR_DELIVERY', 'DELIVERED', 'UNDELIVERABLE', 'EXPIRED')),
    ship_date timestamptz,
    arrives_at timestamptz,
    delivered_at timestamptz,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (store, fr_number, package_key),
    FOREIGN KEY (store, fr_number) REFERENCES fba.fulfillment_request ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX package_undelivered ON fba.package (store, fr_number) WHERE status IS DISTINCT FROM 'DELIVERED';
CREATE INDEX package_by_change ON fba.package (store, updated_at);
COMMENT ON TABLE fba.package IS 'Every parcel of a request, as Amazon''s order has it. Nobody''s name, photo or signature.';
COMMENT ON COLUMN fba.package.package_key IS
    'What it was first known by: Amazon''s tracking number, else the carrier''s, else Amazon''s id of the package.';
COMMENT ON COLUMN fba.package.package_id IS 'Amazon''s id of the package, unique in its shipment (shipment_id).';
COMMENT ON COLUMN fba.package.status IS 'Null: Amazon has not said one that it documents.';
COMMENT ON COLUMN fba.package.ship_date IS 'When it left Amazon; null until it has.';
COMMENT ON COLUMN fba.package.arrives_at IS 'The arrival that Amazon promises at present.';
COMMENT ON COLUMN fba.package.updated_at IS 'When something in this row last changed.';

CREATE TABLE fba.package_item (
    store text NOT NULL,
    fr_number text NOT NULL,
    package_key text NOT NULL,
    sku text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (store, fr_number, package_key, sku),
    FOREIGN KEY (store, fr_number, package_key) REFERENCES fba.package ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE fba.request_event (
    store text NOT NULL,
    fr_number text NOT NULL,
    n bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    what text NOT NULL CHECK (what IN (
        'created', 'invalid', 'waiting', 'quoted', 'needs_approval', 'approved', 'claimed', 'sent', 'accepted', 'rejected', 'unknown',
        'planned', 'shipped', 'delayed', 'out_for_delivery', 'delivered', 'undeliverable', 'expired', 'cancel_requested', 'cancelled',
        'not_cancelled', 'unfulfillable', 'resent', 'set_by_hand')),
    package_key text,
    detail text,
    source text NOT NULL CHECK (source IN ('product', 'merchant', 'feed', 'order', 'report')),
    PRIMARY KEY (store, fr_number, n),
    FOREIGN KEY (store, fr_number) REFERENCES fba.fulfillment_request ON UPDATE CASCADE ON DELETE CASCADE
);
-- What happens to a parcel, and what can happen once, is there once, whoever tells it and how often.
CREATE UNIQUE INDEX request_event_of_parcel ON fba.request_event (store, fr_number, package_key, what) WHERE package_key IS NOT NULL;
CREATE UNIQUE INDEX request_event_once ON fba.request_event (store, fr_number, what) WHERE what IN ('created', 'planned') OR what = 'shipped' AND package_key IS NULL;
COMMENT ON TABLE fba.request_event IS 'The timeline of each request: all that happened to it, whoever did it. No personal data.';
COMMENT ON COLUMN fba.request_event.n IS 'The order in which it was learnt; it has gaps.';
COMMENT ON COLUMN fba.request_event.at IS 'Amazon''s time where it gives one, else ours.';
COMMENT ON COLUMN fba.request_event.package_key IS 'The parcel that it is about: fba.package.package_key, or its number in the shipments report.';
COMMENT ON COLUMN fba.request_event.source IS 'Who did or told it: product (the DAGs), merchant, or Amazon by feed, order or report.';

DO $$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT table_name AS t, column_name AS n FROM information_schema.columns
        WHERE table_schema = 'fba' AND data_type = 'timestamp with time zone'
          AND table_name IN ('order_cursor', 'tracked_order', 'package', 'request_event')
        ORDER BY table_name, column_name
    LOOP
        EXECUTE format('ALTER TABLE fba.%I ADD CONSTRAINT %I CHECK (%I BETWEEN ''2000-01-01'' AND ''2100-01-01'')',
            c.t, c.n || '_is_possible', c.n);
    END LOOP;
END $$;

CREATE INDEX shipments_further_parcels ON fba.amazon_fulfilled_shipments_report (store) WHERE position(E'\t' IN item_key) > 0;
COMMENT ON COLUMN fba.amazon_fulfilled_shipments_report.item_key IS
    'shipment-item-id, for a further parcel of the item with its number; where that is blank, a SHA-256 of what else tells the row apart.';

-- A parcel's number, however it is written.
CREATE FUNCTION fba.parcel_number(number text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT nullif(upper(regexp_replace(number, '\s', '', 'g')), '')
$$;

-- Whether a parcel has left Amazon, by what its order says.
CREATE FUNCTION fba.has_left(status text, ship_date timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ship_date IS NOT NULL OR coalesce(status, 'PROCESSING') <> 'PROCESSING'
$$;

-- The parcel of a row of the shipments report: the order's, where it knows one of this number.
CREATE FUNCTION fba.reported_parcel(store text, fr_number text, tracking_number text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce((
        SELECT p.package_key FROM fba.package AS p
        WHERE p.store = $1 AND p.fr_number = $2
          AND fba.parcel_number($3) IN (fba.parcel_number(p.tracking_number), fba.parcel_number(p.amazon_tracking_number))
        ORDER BY p.package_key LIMIT 1), nullif(btrim($3), ''))
$$;

-- Whether the timeline has it that the request was sent since it was last claimed.
CREATE FUNCTION fba.is_told_sent(store text, fr_number text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT e.what = 'sent' FROM fba.request_event AS e
        WHERE e.store = $1 AND e.fr_number = $2 AND e.what IN ('claimed', 'sent') ORDER BY e.n DESC LIMIT 1), false)
$$;

-- What happens to a request. Who may write it is told apart by the session: the function itself runs as its owner.
CREATE FUNCTION fba.record_request() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    by_product CONSTANT boolean := coalesce(current_setting('fba.writer', true), '') = 'product'
        AND coalesce((SELECT pg_has_role(session_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = 'fba_product'), true);
    us CONSTANT text := CASE WHEN by_product THEN 'product' ELSE 'merchant' END;
    amazon CONSTANT text := CASE WHEN NEW.amazon_order_status IS NOT NULL OR NEW.transport = 'outbound' THEN 'order' ELSE 'feed' END;
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- A request that was deleted or lost with an older backup is inserted again: its timeline has it, and must not refuse it.
        INSERT INTO fba.request_event (store, fr_number, at, what, source)
        VALUES (NEW.store, NEW.fr_number, NEW.inserted_at, 'created', 'merchant') ON CONFLICT DO NOTHING;
        INSERT INTO fba.request_event (store, fr_number, what, detail, source)
        SELECT r.store, r.fr_number, 'resent', 'as ' || NEW.fr_number, us FROM fba.fulfillment_request AS r
        WHERE r.store = NEW.store AND r.fr_number = NEW.resend_of;
        IF NEW.cancel_requested_at IS NOT NULL THEN
            INSERT INTO fba.request_event (store, fr_number, at, what, source)
            VALUES (NEW.store, NEW.fr_number, NEW.cancel_requested_at, 'cancel_requested', us);
        END IF;
        IF NEW.approved_at IS NOT NULL THEN
            INSERT INTO fba.request_event (store, fr_number, at, what, source) VALUES (NEW.store, NEW.fr_number, NEW.approved_at, 'approved', us);
        END IF;
        PERFORM fba.record_reported(NEW.store, ARRAY[NEW.fr_number]);
        RETURN NULL;
    END IF;
    IF NEW.status <> OLD.status AND NOT by_product THEN
        INSERT INTO fba.request_event (store, fr_number, what, detail, source)
        VALUES (NEW.store, NEW.fr_number, 'set_by_hand', 'from ' || OLD.status || ' to ' || NEW.status, 'merchant');
    ELSIF NEW.status <> OLD.status THEN
        INSERT INTO fba.request_event (store, fr_number, at, what, detail, source)
        SELECT NEW.store, NEW.fr_number, coalesce(e.at, clock_timestamp()), e.what, e.detail, e.source
        FROM (VALUES
            ('invalid', 'invalid', NULL::timestamptz, NULL::text, 'product'),
            ('sending', CASE WHEN NEW.claim_id IS NOT NULL THEN 'claimed' END, NULL, NULL, 'product'),
            ('submitted', 'sent', NEW.sent_at, NULL, 'product'),
            -- Amazon's answer is an order at once, or the order was found after the answer was lost: submitted was left out.
            ('accepted', CASE WHEN OLD.status IN ('sending', 'unknown') AND NEW.sent_at IS NOT NULL AND NOT fba.is_told_sent(NEW.store, NEW.fr_number)
                         THEN 'sent' END, NEW.sent_at, NULL, 'product'),
            ('unknown', 'unknown', NULL, NULL, 'product'),
            ('pending', 'waiting', NULL, 'not at Amazon, pending again', 'product'),
            ('rejected', CASE WHEN NEW.amazon_order_status = 'Unfulfillable' THEN 'unfulfillable' END, NULL, NULL, 'order'),
            ('accepted', 'accepted', NULL, NULL, amazon),
            ('rejected', 'rejected', NULL, NULL, amazon),
            ('cancelled', 'cancelled', NULL, NULL, 'order')
        ) AS e (status, what, at, detail, source)
        WHERE e.status = NEW.status AND e.what IS NOT NULL;
    END IF;
    IF NEW.amazon_order_status = 'CompletePartialled' AND OLD.amazon_order_status IS DISTINCT FROM NEW.amazon_order_status THEN
        INSERT INTO fba.request_event (store, fr_number, what, detail, source)
        VALUES (NEW.store, NEW.fr_number, 'unfulfillable', 'in part: the rest will not be shipped', 'order');
    END IF;
    IF NEW.approved_at IS DISTINCT FROM OLD.approved_at AND NEW.approved_at IS NOT NULL THEN
        INSERT INTO fba.request_event (store, fr_number, at, what, detail, source)
        VALUES (NEW.store, NEW.fr_number, NEW.approved_at, 'approved', 'for a fee of ' || nullif(NEW.approved_fee, 0), us);
    END IF;
    IF NEW.approval_asked_at IS NOT NULL AND NEW.approved_at IS NULL AND (OLD.approval_asked_at IS NULL OR OLD.approved_at IS NOT NULL) THEN
        INSERT INTO fba.request_event (store, fr_number, at, what, detail, source)
        VALUES (NEW.store, NEW.fr_number, CASE WHEN OLD.approval_asked_at IS NULL THEN NEW.approval_asked_at ELSE clock_timestamp() END,
                'needs_approval', left(NEW.waiting_reason, 300), us);
    ELSIF OLD.waiting_reason IS NULL AND NEW.waiting_reason IS NOT NULL THEN
        INSERT INTO fba.request_event (store, fr_number, what, detail, source)
        VALUES (NEW.store, NEW.fr_number, 'waiting', left(NEW.waiting_reason, 300), us);
    END IF;
    IF NEW.cancel_requested_at IS DISTINCT FROM OLD.cancel_requested_at THEN
        INSERT INTO fba.request_event (store, fr_number, what, detail, source)
        VALUES (NEW.store, NEW.fr_number, CASE WHEN NEW.cancel_requested_at IS NULL THEN 'set_by_hand' ELSE 'cancel_requested' END,
                CASE WHEN NEW.cancel_requested_at IS NULL THEN 'the cancellation was taken back' END, us);
    END IF;
    IF starts_with(NEW.status_reason, 'not cancelled') AND NOT coalesce(starts_with(OLD.status_reason, 'not cancelled'), false) THEN
        INSERT INTO fba.request_event (store, fr_number, what, source) VALUES (NEW.store, NEW.fr_number, 'not_cancelled', 'order');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER record_insert AFTER INSERT ON fba.fulfillment_request FOR EACH ROW EXECUTE FUNCTION fba.record_request();
CREATE TRIGGER record_update AFTER UPDATE ON fba.fulfillment_request FOR EACH ROW
    WHEN (NEW.status <> OLD.status OR NEW.waiting_reason IS DISTINCT FROM OLD.waiting_reason
          OR NEW.amazon_order_status IS DISTINCT FROM OLD.amazon_order_status
          OR NEW.cancel_requested_at IS DISTINCT FROM OLD.cancel_requested_at OR NEW.status_reason IS DISTINCT FROM OLD.status_reason
          OR NEW.approval_asked_at IS DISTINCT FROM OLD.approval_asked_at OR NEW.approved_at IS DISTINCT FROM OLD.approved_at)
    EXECUTE FUNCTION fba.record_request();

-- What Amazon said before a request was sent, for its timeline.
CREATE FUNCTION fba.quote_in_words(store text, fr_number text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT left(string_agg(q.speed || CASE WHEN NOT q.fulfillable THEN ' cannot be had' WHEN q.fee IS NULL THEN ' at an unknown fee'
                           ELSE ' for ' || q.fee || coalesce(' ' || q.currency, '') END, ', ' ORDER BY q.speed), 300)
    FROM fba.fulfillment_quote AS q WHERE q.store = $1 AND q.fr_number = $2
$$;

-- What the shipments report says of requests. Loads and readings of one store run one after another, so neither misses what
-- the other has just written.
CREATE FUNCTION fba.record_reported(store text, numbers text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO fba.request_event (store, fr_number, at, what, package_key, detail, source)
    SELECT s.store, r.fr_number, coalesce(min(s.ship_date), clock_timestamp()), 'shipped',
           fba.reported_parcel(s.store, r.fr_number, s.tracking_number), min(s.carrier), 'report'
    FROM fba.shipment_item AS s JOIN fba.fulfillment_request AS r ON r.store = s.store AND r.fr_number = coalesce(s.fr_number, s.merchant_order_id)
    WHERE s.store = $1 AND coalesce(s.fr_number, s.merchant_order_id) = ANY ($2) AND s.quantity > 0
    GROUP BY s.store, r.fr_number, fba.reported_parcel(s.store, r.fr_number, s.tracking_number)
    ON CONFLICT DO NOTHING
$$;

REVOKE EXECUTE ON FUNCTION fba.record_reported(text, text[]) FROM PUBLIC;  -- it writes as its owner

CREATE FUNCTION fba.record_shipments() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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
                SELECT o.store, coalesce(o.fr_number, o.merchant_order_id) AS number, nullif(btrim(o.tracking_number), '') AS old_key,
                       fba.reported_parcel(n.store, coalesce(n.fr_number, n.merchant_order_id), n.tracking_number) AS new_key
                FROM old_items AS o JOIN new_items AS n USING (store, item_key)
                WHERE o.tracking_number IS DISTINCT FROM n.tracking_number
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
CREATE TRIGGER record_inserted AFTER INSERT ON fba.shipment_item REFERENCING NEW TABLE AS new_items
    FOR EACH STATEMENT EXECUTE FUNCTION fba.record_shipments();
CREATE TRIGGER record_updated AFTER UPDATE ON fba.shipment_item REFERENCING OLD TABLE AS old_items NEW TABLE AS new_items
    FOR EACH STATEMENT EXECUTE FUNCTION fba.record_shipments();

CREATE FUNCTION fba.record_package() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The report may have told of it already, under the carrier's number.
    UPDATE fba.request_event AS e SET package_key = NEW.package_key
    WHERE e.store = NEW.store AND e.fr_number = NEW.fr_number AND e.source = 'report' AND e.package_key <> NEW.package_key
      AND fba.parcel_number(e.package_key) IN (fba.parcel_number(NEW.tracking_number), fba.parcel_number(NEW.amazon_tracking_number))
      AND NOT EXISTS (
        SELECT FROM fba.request_event AS d
        WHERE d.store = NEW.store AND d.fr_number = NEW.fr_number AND d.what = e.what AND d.package_key = NEW.package_key);
    INSERT INTO fba.request_event (store, fr_number, at, what, package_key, detail, source)
    SELECT NEW.store, NEW.fr_number, coalesce(e.at, clock_timestamp()), e.what, NEW.package_key, e.detail, 'order'
    FROM (VALUES
        (CASE WHEN fba.has_left(NEW.status, NEW.ship_date) THEN 'shipped' END, NEW.ship_date, NEW.carrier),
        (CASE WHEN NEW.status NOT IN ('PROCESSING', 'IN_TRANSIT') THEN lower(NEW.status) END,
         CASE WHEN NEW.status = 'DELIVERED' THEN NEW.delivered_at END, NULL)
    ) AS e (what, at, detail)
    WHERE e.what IS NOT NULL
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER record AFTER INSERT OR UPDATE ON fba.package FOR EACH ROW EXECUTE FUNCTION fba.record_package();

-- The past, as far as it is known.
INSERT INTO fba.request_event (store, fr_number, at, what, package_key, detail, source)
SELECT store, fr_number, at, what, package_key, detail, source
FROM (
    SELECT store, fr_number, inserted_at AS at, 'created' AS what, NULL AS package_key, NULL AS detail, 'merchant' AS source, 1 AS step
    FROM fba.fulfillment_request
    UNION ALL
    SELECT store, fr_number, waiting_since, 'waiting', NULL, left(waiting_reason, 300), 'product', 2
    FROM fba.fulfillment_request WHERE waiting_since IS NOT NULL
    UNION ALL
    SELECT m.store, m.fr_number, f.claimed_at, 'claimed', NULL, NULL, 'product', 3
    FROM fba.feed_message AS m JOIN fba.feed AS f USING (store, document_id)
    UNION ALL
    SELECT store, fr_number, max(quoted_at), 'quoted', NULL, fba.quote_in_words(store, fr_number), 'product', 2
    FROM fba.fulfillment_quote GROUP BY store, fr_number
    UNION ALL
    SELECT store, fr_number, approval_asked_at, 'needs_approval', NULL, left(waiting_reason, 300), 'product', 2
    FROM fba.fulfillment_request WHERE approval_asked_at IS NOT NULL
    UNION ALL
    SELECT store, fr_number, approved_at, 'approved', NULL, 'for a fee of ' || nullif(approved_fee, 0), 'merchant', 2
    FROM fba.fulfillment_request WHERE approved_at IS NOT NULL
    UNION ALL
    SELECT store, fr_number, claimed_at, 'claimed', NULL, NULL, 'product', 3 FROM fba.outbound_order
    UNION ALL
    SELECT store, fr_number, intent_at, 'sent', NULL, NULL, 'product', 4 FROM fba.outbound_order WHERE answered_at IS NOT NULL
    UNION ALL
    SELECT m.store, m.fr_number, coalesce(f.submitted_at, f.submit_started_at), 'sent', NULL, 'feed ' || f.feed_id, 'product', 4
    FROM fba.feed_message AS m JOIN fba.feed AS f USING (store, document_id) WHERE f.feed_id IS NOT NULL
    UNION ALL
    SELECT r.store, r.fr_number, r.sent_at, 'sent', NULL, NULL, 'product', 4
    FROM fba.fulfillment_request AS r
    WHERE r.sent_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM fba.feed_message AS m JOIN fba.feed AS f USING (store, document_id)
        WHERE m.store = r.store AND m.fr_number = r.fr_number AND f.feed_id IS NOT NULL)
      AND NOT EXISTS (
        SELECT FROM fba.outbound_order AS o WHERE o.store = r.store AND o.fr_number = r.fr_number AND o.answered_at IS NOT NULL)
    UNION ALL
    SELECT store, fr_number, cancel_requested_at, 'cancel_requested', NULL, NULL, 'merchant', 5
    FROM fba.fulfillment_request WHERE cancel_requested_at IS NOT NULL
    UNION ALL
    SELECT store, fr_number, coalesce(resolved_at, sent_at, inserted_at), status, NULL, NULL,
           CASE WHEN status = 'invalid' THEN 'product' WHEN amazon_order_status IS NOT NULL OR transport = 'outbound' THEN 'order' ELSE 'feed' END, 6
    FROM fba.fulfillment_request WHERE status IN ('invalid', 'accepted', 'rejected', 'cancelled')
    UNION ALL
    SELECT store, fr_number, coalesce(unknown_since, sent_at, inserted_at), 'unknown', NULL, NULL, 'product', 6
    FROM fba.fulfillment_request WHERE status = 'unknown'
    UNION ALL
    SELECT s.store, r.fr_number, coalesce(min(s.ship_date), now()), 'shipped', nullif(btrim(s.tracking_number), ''), min(s.carrier), 'report', 7
    FROM fba.shipment_item AS s JOIN fba.fulfillment_request AS r ON r.store = s.store AND r.fr_number = coalesce(s.fr_number, s.merchant_order_id)
    WHERE s.quantity > 0 GROUP BY s.store, r.fr_number, nullif(btrim(s.tracking_number), '')
    UNION ALL
    SELECT old.store, old.fr_number, new.inserted_at, 'resent', NULL, 'as ' || new.fr_number, 'merchant', 8
    FROM fba.fulfillment_request AS new JOIN fba.fulfillment_request AS old ON old.store = new.store AND old.fr_number = new.resend_of
) AS past
ORDER BY at, step;
