-- The desk, a page in Airflow, reads one screen of many rows: it needs an index for each order in which it shows them.
CREATE FUNCTION fba.shortened(whole text, most integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(whole) <= most OR length(left(whole, most + 1)) <= most THEN whole ELSE left(whole, most - 1) || '…' END
$$;
COMMENT ON FUNCTION fba.shortened IS 'A text of at most so many characters; what was cut ends with an ellipsis.';

-- A longer title is no better known by its end, and PostgreSQL refuses the words of a text that is too long.
CREATE FUNCTION fba.words_of(title text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsvector('pg_catalog.simple'::regconfig, left(title, 200))
$$;
COMMENT ON FUNCTION fba.words_of IS 'The words of a title by which its SKU is found.';

CREATE INDEX pool_by_quantity ON fba.global_inventory_pool (store, quantity, sku);
CREATE INDEX pool_by_letters ON fba.global_inventory_pool (store, upper(sku) text_pattern_ops);
CREATE INDEX pool_by_asin ON fba.global_inventory_pool (store, asin);
-- A merge puts new words into a list of the index, which is sorted in later, many at once: to sort in each would double a first load.
CREATE INDEX pool_by_words ON fba.global_inventory_pool USING gin (fba.words_of(title)) WITH (gin_pending_list_limit = 32768);
-- By hash: a field of a damaged line may be longer than an ordered index takes.
CREATE INDEX listings_by_sku ON fba.amazon_all_listings_report USING hash (seller_sku);
CREATE INDEX afn_by_sku ON fba.amazon_afn_inventory_report USING hash (seller_sku);
-- All changes of one statement have one time, so the SKU belongs to their order.
CREATE INDEX stock_change_by_time ON fba.stock_change (at, store, sku);
DROP INDEX fba.stock_change_by_age;
CREATE INDEX fulfillment_request_by_day ON fba.fulfillment_request (created_at, store, fr_number);

-- A text of Amazon's about one order may name the buyer. Who reads these texts through fba.request_words and fba.feed_message_words
-- does not read the buyer with them. State and country stay: they are words of many sentences and name nobody.
CREATE FUNCTION fba.without_person(words text, name text, VARIADIC others text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    value text;
BEGIN
    FOREACH value IN ARRAY others || name || regexp_split_to_array(coalesce(name, ''), '\s+') LOOP
        IF length(btrim(value)) >= 3 THEN
            value := regexp_replace(regexp_replace(btrim(value), '([^[:alnum:][:space:]])', '\\\1', 'g'), '\s+', '\\s+', 'g');
            words := regexp_replace(words, value, '(removed)', 'gi');
        END IF;
    END LOOP;
    RETURN words;
END $$;
COMMENT ON FUNCTION fba.without_person IS 'A text without these names, addresses and numbers, in whatever letters it has them.';

-- Written by every merge that reads the listings report.
CREATE TABLE fba.conflicting_sku (
    store text NOT NULL,
    sku text NOT NULL,
    PRIMARY KEY (store, sku)
);
COMMENT ON TABLE fba.conflicting_sku IS
    'SKUs whose lines in the last applied listings report state different quantities; the smallest one counts.';

-- To count the sales of four weeks takes a second where there are many, so each run of fba_get_inventory does it once and keeps it.
CREATE TABLE fba.stock_cover (
    store text NOT NULL,
    sku text NOT NULL,
    fba_units bigint NOT NULL,
    units_a_day numeric NOT NULL,
    days_of_cover numeric NOT NULL,
    inbound bigint,
    sales_until timestamptz CONSTRAINT sales_until_is_possible CHECK (sales_until BETWEEN '2000-01-01' AND '2100-01-01'),
    as_of timestamptz NOT NULL CONSTRAINT as_of_is_possible CHECK (as_of BETWEEN '2000-01-01' AND '2100-01-01'),
    PRIMARY KEY (store, sku)
);
CREATE INDEX stock_cover_by_days ON fba.stock_cover (store, days_of_cover, sku);
COMMENT ON TABLE fba.stock_cover IS 'fba.stock_outlook of the SKUs that are sold, as the last run of fba_get_inventory found it.';

-- Requests of which nothing is open any more, so that who looks for overdue ones does not add up all parcels of all requests each time.
-- What could open one again takes it from here: another number of units, another parcel, or none. A copy's parcels count for both.
CREATE TABLE fba.wholly_shipped (
    store text NOT NULL,
    fr_number text NOT NULL,
    PRIMARY KEY (store, fr_number),
    FOREIGN KEY (store, fr_number) REFERENCES fba.fulfillment_request ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE fba.wholly_shipped IS 'Accepted requests of which fba.fulfillment_progress leaves nothing open, as runs of fba_get_inventory found them.';
CREATE FUNCTION fba.forget_wholly_shipped() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was CONSTANT jsonb := to_jsonb(OLD);
    number CONSTANT text := coalesce(was ->> 'fr_number', was ->> 'merchant_order_id');
BEGIN
    DELETE FROM fba.wholly_shipped AS w WHERE w.store = OLD.store AND w.fr_number IN (
        SELECT number UNION ALL
        SELECT r.resend_of FROM fba.fulfillment_request AS r WHERE r.store = OLD.store AND r.fr_number = number AND r.resend_of IS NOT NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER forget_shipped AFTER DELETE ON fba.shipment_item FOR EACH ROW EXECUTE FUNCTION fba.forget_wholly_shipped();
CREATE TRIGGER forget_shipped_else AFTER UPDATE ON fba.shipment_item FOR EACH ROW
    WHEN ((OLD.sku, OLD.quantity, OLD.tracking_number, OLD.fr_number, OLD.merchant_order_id)
        IS DISTINCT FROM (NEW.sku, NEW.quantity, NEW.tracking_number, NEW.fr_number, NEW.merchant_order_id))
    EXECUTE FUNCTION fba.forget_wholly_shipped();
CREATE TRIGGER forget_shipped AFTER DELETE ON fba.package FOR EACH ROW EXECUTE FUNCTION fba.forget_wholly_shipped();
CREATE TRIGGER forget_shipped_else AFTER UPDATE ON fba.package FOR EACH ROW
    WHEN ((OLD.package_key, OLD.tracking_number, OLD.amazon_tracking_number, fba.has_left(OLD.status, OLD.ship_date))
        IS DISTINCT FROM (NEW.package_key, NEW.tracking_number, NEW.amazon_tracking_number, fba.has_left(NEW.status, NEW.ship_date)))
    EXECUTE FUNCTION fba.forget_wholly_shipped();
CREATE TRIGGER forget_shipped AFTER DELETE ON fba.package_item FOR EACH ROW EXECUTE FUNCTION fba.forget_wholly_shipped();
CREATE TRIGGER forget_shipped_else AFTER UPDATE ON fba.package_item FOR EACH ROW
    WHEN ((OLD.package_key, OLD.sku, OLD.quantity) IS DISTINCT FROM (NEW.package_key, NEW.sku, NEW.quantity))
    EXECUTE FUNCTION fba.forget_wholly_shipped();

-- The units in stock over time, without reading every change of every SKU: how much each statement changed them. Rows are only added,
-- so that two writers of a store do not wait for each other.
CREATE TABLE fba.stock_total_change (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    store text NOT NULL,
    at timestamptz NOT NULL CONSTRAINT at_is_possible CHECK (at BETWEEN '2000-01-01' AND '2100-01-01'),
    units bigint NOT NULL,
    skus_in_stock bigint NOT NULL
);
CREATE INDEX stock_total_change_by_store ON fba.stock_total_change (store, at) INCLUDE (units, skus_in_stock);
COMMENT ON TABLE fba.stock_total_change IS
    'By how much a statement changed the units of a store''s pool, and the number of its SKUs above 0. Their sum up to a moment is what there was then.';

-- As before, and the sum beside the changes.
CREATE OR REPLACE FUNCTION fba.record_stock_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
    none CONSTANT text := '(SELECT * FROM fba.global_inventory_pool WHERE false)';
    old_rows CONSTANT text := CASE TG_OP WHEN 'INSERT' THEN none WHEN 'TRUNCATE' THEN 'fba.global_inventory_pool' ELSE 'old_rows' END;
    new_rows CONSTANT text := CASE WHEN TG_OP IN ('INSERT', 'UPDATE') THEN 'new_rows' ELSE none END;
    record CONSTANT text := format($statement$
        INSERT INTO fba.stock_change AS c (store, sku, at, quantity_before, quantity, fba_quantity_before, fba_quantity,
            fbm_quantity_before, fbm_quantity, quantity_source_before, quantity_source, afn_report_id, listings_report_id)
        SELECT coalesce(n.store, o.store), coalesce(n.sku, o.sku), $1, o.quantity, n.quantity, o.fba_quantity, n.fba_quantity,
               o.fbm_quantity, n.fbm_quantity, o.quantity_source, n.quantity_source, n.afn_report_id, n.listings_report_id
        FROM %s AS o FULL JOIN %s AS n ON n.store = o.store AND n.sku = o.sku
        WHERE (o.quantity, o.fba_quantity, o.fbm_quantity, o.quantity_source)
            IS DISTINCT FROM (n.quantity, n.fba_quantity, n.fbm_quantity, n.quantity_source)
        $statement$, old_rows, new_rows);
    total CONSTANT text := format($statement$
        INSERT INTO fba.stock_total_change (store, at, units, skus_in_stock)
        SELECT t.store, $1, sum(t.units), sum(t.skus) FROM (
            SELECT n.store, sum(n.quantity) AS units, count(*) FILTER (WHERE n.quantity > 0) AS skus FROM %s AS n GROUP BY n.store
            UNION ALL
            SELECT o.store, -sum(o.quantity), -count(*) FILTER (WHERE o.quantity > 0) FROM %s AS o GROUP BY o.store
        ) AS t GROUP BY t.store HAVING sum(t.units) <> 0 OR sum(t.skus) <> 0
        $statement$, new_rows, old_rows);
BEGIN
    EXECUTE total USING at;
    EXECUTE record USING at;
    RETURN NULL;
EXCEPTION WHEN unique_violation THEN
    EXECUTE total USING at;
    EXECUTE record || $conflict$
        ON CONFLICT (store, sku, at) DO UPDATE SET
            quantity = excluded.quantity, fba_quantity = excluded.fba_quantity, fbm_quantity = excluded.fbm_quantity,
            quantity_source = excluded.quantity_source, afn_report_id = excluded.afn_report_id,
            listings_report_id = excluded.listings_report_id
        $conflict$ USING at;
    RETURN NULL;
END $$;

-- What there is now, less what is known to have changed, was there when the history began.
INSERT INTO fba.stock_total_change (store, at, units, skus_in_stock)
SELECT t.store, t.at, sum(t.units), sum(t.skus) FROM (
    SELECT store, at, (coalesce(quantity, 0) - coalesce(quantity_before, 0)) AS units,
           (coalesce(quantity, 0) > 0)::int - (coalesce(quantity_before, 0) > 0)::int AS skus FROM fba.stock_change
    UNION ALL
    SELECT store, (SELECT begins_at FROM fba.stock_history), quantity, (quantity > 0)::int FROM fba.global_inventory_pool
    UNION ALL
    SELECT store, (SELECT begins_at FROM fba.stock_history), coalesce(quantity_before, 0) - coalesce(quantity, 0),
           (coalesce(quantity_before, 0) > 0)::int - (coalesce(quantity, 0) > 0)::int FROM fba.stock_change
) AS t GROUP BY t.store, t.at HAVING sum(t.units) <> 0 OR sum(t.skus) <> 0;
