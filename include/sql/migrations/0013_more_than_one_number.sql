-- Beside the one number: its history, what else Amazon holds, and what other systems were told.
CREATE TABLE fba.stock_change (
    store text NOT NULL,
    sku text NOT NULL,
    at timestamptz NOT NULL CONSTRAINT at_is_possible CHECK (at BETWEEN '2000-01-01' AND '2100-01-01'),
    quantity_before bigint,
    quantity bigint,
    fba_quantity_before bigint,
    fba_quantity bigint,
    fbm_quantity_before bigint,
    fbm_quantity bigint,
    quantity_source_before text,
    quantity_source text,
    afn_report_id text,
    listings_report_id text,
    PRIMARY KEY (store, sku, at)
);
CREATE INDEX stock_change_by_age ON fba.stock_change (at, store);
COMMENT ON TABLE fba.stock_change IS
    'Every change of a quantity of the pool, whoever made it. The columns ..._before are null for a SKU that came, the others for one that went.';
COMMENT ON COLUMN fba.stock_change.at IS 'When the statement that changed the pool was run; readers saw the change at its commit, moments later.';
COMMENT ON COLUMN fba.stock_change.afn_report_id IS 'With listings_report_id: the reports from which the new values came.';

CREATE TABLE fba.stock_history (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    begins_at timestamptz NOT NULL CONSTRAINT begins_at_is_possible CHECK (begins_at BETWEEN '2000-01-01' AND '2100-01-01')
);
COMMENT ON TABLE fba.stock_history IS 'Since when fba.stock_change has every change: since the upgrade to it, and no longer than data_months.';
INSERT INTO fba.stock_history (begins_at) VALUES (clock_timestamp());

-- By statement, with all rows at once. EXECUTE: a plan that is kept would be that of the session's first statement, which may have
-- changed one row of a million. Two changes of a SKU within a microsecond, or of a clock that was set back, are one; ON CONFLICT only
-- then, because it costs half as much again.
CREATE FUNCTION fba.record_stock_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
    none CONSTANT text := '(SELECT * FROM fba.global_inventory_pool WHERE false)';
    record CONSTANT text := format($statement$
        INSERT INTO fba.stock_change AS c (store, sku, at, quantity_before, quantity, fba_quantity_before, fba_quantity,
            fbm_quantity_before, fbm_quantity, quantity_source_before, quantity_source, afn_report_id, listings_report_id)
        SELECT coalesce(n.store, o.store), coalesce(n.sku, o.sku), $1, o.quantity, n.quantity, o.fba_quantity, n.fba_quantity,
               o.fbm_quantity, n.fbm_quantity, o.quantity_source, n.quantity_source, n.afn_report_id, n.listings_report_id
        FROM %s AS o FULL JOIN %s AS n ON n.store = o.store AND n.sku = o.sku
        WHERE (o.quantity, o.fba_quantity, o.fbm_quantity, o.quantity_source)
            IS DISTINCT FROM (n.quantity, n.fba_quantity, n.fbm_quantity, n.quantity_source)
        $statement$,
        CASE TG_OP WHEN 'INSERT' THEN none WHEN 'TRUNCATE' THEN 'fba.global_inventory_pool' ELSE 'old_rows' END,
        CASE WHEN TG_OP IN ('INSERT', 'UPDATE') THEN 'new_rows' ELSE none END);
BEGIN
    EXECUTE record USING at;
    RETURN NULL;
EXCEPTION WHEN unique_violation THEN
    EXECUTE record || $conflict$
        ON CONFLICT (store, sku, at) DO UPDATE SET
            quantity = excluded.quantity, fba_quantity = excluded.fba_quantity, fbm_quantity = excluded.fbm_quantity,
            quantity_source = excluded.quantity_source, afn_report_id = excluded.afn_report_id,
            listings_report_id = excluded.listings_report_id
        $conflict$ USING at;
    RETURN NULL;
END $$;
CREATE TRIGGER record_new AFTER INSERT ON fba.global_inventory_pool
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION fba.record_stock_change();
CREATE TRIGGER record_changed AFTER UPDATE ON fba.global_inventory_pool
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION fba.record_stock_change();
CREATE TRIGGER record_gone AFTER DELETE ON fba.global_inventory_pool
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION fba.record_stock_change();
CREATE TRIGGER record_truncated BEFORE TRUNCATE ON fba.global_inventory_pool
    FOR EACH STATEMENT EXECUTE FUNCTION fba.record_stock_change();

-- Back from the pool as it is: what changed after that moment was before its first change.
CREATE FUNCTION fba.stock_at(store text, at timestamptz) RETURNS TABLE (
    sku text, quantity bigint, fba_quantity bigint, fbm_quantity bigint, quantity_source text
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    begins_at CONSTANT timestamptz := (SELECT h.begins_at FROM fba.stock_history AS h);
BEGIN
    IF $2 IS NULL OR $2 < begins_at OR $2 > clock_timestamp() THEN
        RAISE EXCEPTION 'What the stock was at % is not known: its history begins at % and ends now.', coalesce($2::text, 'no time'), begins_at;
    END IF;
    RETURN QUERY
    SELECT coalesce(p.sku, c.sku), CASE WHEN c.sku IS NULL THEN p.quantity ELSE c.quantity_before END,
           CASE WHEN c.sku IS NULL THEN p.fba_quantity ELSE c.fba_quantity_before END,
           CASE WHEN c.sku IS NULL THEN p.fbm_quantity ELSE c.fbm_quantity_before END,
           CASE WHEN c.sku IS NULL THEN p.quantity_source ELSE c.quantity_source_before END
    FROM (SELECT * FROM fba.global_inventory_pool AS k WHERE k.store = $1) AS p
    FULL JOIN (
        SELECT DISTINCT ON (h.sku) h.* FROM fba.stock_change AS h WHERE h.store = $1 AND h.at > $2 ORDER BY h.sku, h.at
    ) AS c ON c.sku = p.sku
    WHERE c.sku IS NULL OR c.quantity_before IS NOT NULL;
END $$;
COMMENT ON FUNCTION fba.stock_at IS 'The quantities of a store''s pool as they were at a moment; an error where that is not known.';

ALTER TABLE fba.store
    ADD COLUMN buffer_units bigint NOT NULL DEFAULT 0,
    ADD COLUMN low_stock_days double precision;
COMMENT ON COLUMN fba.store.buffer_units IS 'Units of each SKU that are held back from fba.available_to_sell.';
COMMENT ON COLUMN fba.store.low_stock_days IS 'low_stock is told when stock covers fewer days of sales; null: it is not.';
-- What is promised of a SKU, the reports on which the pool rests, and what was sold lately.
CREATE INDEX fulfillment_request_item_by_sku ON fba.fulfillment_request_item (store, sku);
CREATE INDEX report_by_use ON fba.report (store, report_type, applied_at DESC) WHERE applied_at IS NOT NULL;
CREATE INDEX shipment_item_by_date ON fba.shipment_item (ship_date) INCLUDE (store, sku, quantity);

CREATE TABLE fba.stock_breakdown (
    store text NOT NULL,
    sku text NOT NULL,
    fnsku text,
    fulfillable bigint,
    reserved_customer_order bigint,
    reserved_transfer bigint,
    reserved_processing bigint,
    inbound_working bigint,
    inbound_shipped bigint,
    inbound_receiving bigint,
    researching bigint,
    unfulfillable bigint,
    future_supply bigint,
    as_of timestamptz NOT NULL CONSTRAINT as_of_is_possible CHECK (as_of BETWEEN '2000-01-01' AND '2100-01-01'),
    PRIMARY KEY (store, sku)
);
CREATE INDEX stock_breakdown_by_age ON fba.stock_breakdown (as_of);
COMMENT ON TABLE fba.stock_breakdown IS
    'Where else the units of a SKU are, as getInventorySummaries states it (inventory.breakdown). Null: Amazon did not say. Definitions: Amazon''s FBA Inventory v1.';
COMMENT ON COLUMN fba.stock_breakdown.fulfillable IS 'Amazon: "The item quantity that can be picked, packed, and shipped."';
COMMENT ON COLUMN fba.stock_breakdown.reserved_customer_order IS 'Amazon: "The number of units reserved for customer orders."';
COMMENT ON COLUMN fba.stock_breakdown.reserved_transfer IS 'Amazon: "The number of units being transferred from one fulfillment center to another."';
COMMENT ON COLUMN fba.stock_breakdown.reserved_processing IS
    'Amazon: "The number of units that have been sidelined at the fulfillment center for additional processing."';
COMMENT ON COLUMN fba.stock_breakdown.inbound_working IS 'Amazon: "The number of units in an inbound shipment for which you have notified Amazon."';
COMMENT ON COLUMN fba.stock_breakdown.inbound_shipped IS
    'Amazon: "The number of units in an inbound shipment that you have notified Amazon about and have provided a tracking number."';
COMMENT ON COLUMN fba.stock_breakdown.inbound_receiving IS
    'Amazon: "The number of units that have not yet been received at an Amazon fulfillment center for processing, but are part of an inbound shipment with some units that have already been received and processed."';
COMMENT ON COLUMN fba.stock_breakdown.researching IS
    'Amazon: "The total number of units currently being researched in Amazon''s fulfillment network."';
COMMENT ON COLUMN fba.stock_breakdown.unfulfillable IS
    'Amazon: "The total number of units in Amazon''s fulfillment network in unsellable condition."';
COMMENT ON COLUMN fba.stock_breakdown.future_supply IS
    'futureSupplyBuyableQuantity where an answer has it: units on their way that can be bought already. Amazon''s model of August 2026 does not define it.';
COMMENT ON COLUMN fba.stock_breakdown.as_of IS
    'When Amazon last named this SKU. It names what changed; a change of the three inbound quantities alone is only seen in the daily reading of all SKUs.';

CREATE TABLE fba.breakdown_reading (
    store text PRIMARY KEY,
    read_until timestamptz NOT NULL CONSTRAINT read_until_is_possible CHECK (read_until BETWEEN '2000-01-01' AND '2100-01-01'),
    full_at timestamptz NOT NULL CONSTRAINT full_at_is_possible CHECK (full_at BETWEEN '2000-01-01' AND '2100-01-01'),
    marketplace_id text NOT NULL
);
COMMENT ON TABLE fba.breakdown_reading IS 'Until when fba.stock_breakdown has Amazon''s changes; written when a reading has come to its end.';
COMMENT ON COLUMN fba.breakdown_reading.read_until IS 'Begin of the last reading by Amazon''s clock, less five minutes: the next one asks for what changed since.';
COMMENT ON COLUMN fba.breakdown_reading.full_at IS 'Begin of the last reading of all SKUs, by this database''s clock.';

CREATE TABLE fba.available_change (
    store text NOT NULL,
    n bigint NOT NULL,
    sku text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp() CONSTRAINT at_is_possible CHECK (at BETWEEN '2000-01-01' AND '2100-01-01'),
    quantity bigint,
    promised bigint,
    buffer bigint,
    available bigint NOT NULL,
    shares_fnsku_with text[] NOT NULL,
    newest boolean NOT NULL DEFAULT true,
    PRIMARY KEY (store, n)
);
CREATE INDEX available_change_newest ON fba.available_change (store, sku) WHERE newest;
CREATE INDEX available_change_superseded ON fba.available_change (n) WHERE NOT newest;
COMMENT ON TABLE fba.available_change IS
    'Changes of fba.available_to_sell in their order, for the destinations of stores.yaml (publish). Of each SKU the newest stays.';
COMMENT ON COLUMN fba.available_change.n IS 'Grows with every change of a store, also over a restored backup: of two that a receiver gets for a SKU, the higher one counts.';
COMMENT ON COLUMN fba.available_change.quantity IS 'Null with available 0: the SKU is not in the pool any more.';

CREATE TABLE fba.publication (
    destination text NOT NULL,
    store text NOT NULL,
    delivered bigint NOT NULL DEFAULT 0,
    delivered_at timestamptz CONSTRAINT delivered_at_is_possible CHECK (delivered_at BETWEEN '2000-01-01' AND '2100-01-01'),
    PRIMARY KEY (destination, store)
);
COMMENT ON TABLE fba.publication IS 'How far each destination of stores.yaml (publish) has got: available_change.n of the last change it took.';
