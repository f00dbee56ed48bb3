-- fba_get_shipments: what Amazon shipped, row by row, and how far each fulfillment request has come.
CREATE TABLE fba.amazon_fulfilled_shipments_report (
    store text NOT NULL,
    item_key text NOT NULL,
    report_id text NOT NULL,
    report_requested_at timestamptz NOT NULL,
    line_number bigint NOT NULL,
    amazon_order_id text NOT NULL,
    merchant_order_id text,
    shipment_id text,
    shipment_item_id text,
    amazon_order_item_id text,
    merchant_order_item_id text,
    purchase_date timestamptz,
    payments_date timestamptz,
    shipment_date timestamptz NOT NULL,
    reporting_date timestamptz,
    sku text NOT NULL,
    product_name text,
    quantity_shipped bigint NOT NULL,
    currency text,
    item_price text,
    item_tax text,
    shipping_price text,
    shipping_tax text,
    gift_wrap_price text,
    gift_wrap_tax text,
    ship_service_level text,
    item_promotion_discount text,
    ship_promotion_discount text,
    carrier text,
    tracking_number text,
    estimated_arrival_date timestamptz,
    fulfillment_center_id text,
    fulfillment_channel text,
    sales_channel text,
    points_granted text,
    extra jsonb,
    PRIMARY KEY (store, item_key)
);
CREATE INDEX shipments_without_id ON fba.amazon_fulfilled_shipments_report (store, amazon_order_id)
    WHERE coalesce(shipment_item_id, '') = '';
COMMENT ON TABLE fba.amazon_fulfilled_shipments_report IS
    'Every row of GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL seen, once, without buyer and address columns; money and ids as Amazon sent them.';
COMMENT ON COLUMN fba.amazon_fulfilled_shipments_report.item_key IS
    'shipment-item-id; where that is blank, a SHA-256 of what else tells the row apart.';
COMMENT ON COLUMN fba.amazon_fulfilled_shipments_report.report_id IS
    'The report in which the present values were first seen; line_number is its line, the header is line 1.';

CREATE TABLE fba.shipment_item (
    store text NOT NULL,
    item_key text NOT NULL,
    order_id text NOT NULL,
    merchant_order_id text,
    fr_number text,
    sku text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity >= 0),
    carrier text,
    service_level text,
    tracking_number text,
    ship_date timestamptz,
    shipment_id text,
    report_requested_at timestamptz,
    PRIMARY KEY (store, item_key)
);
CREATE INDEX shipment_item_by_order ON fba.shipment_item (store, order_id);
CREATE INDEX shipment_item_by_request ON fba.shipment_item (store, coalesce(fr_number, merchant_order_id))
    WHERE coalesce(fr_number, merchant_order_id) IS NOT NULL;
COMMENT ON COLUMN fba.shipment_item.fr_number IS
    'The merchant-order-id of an order sent to Amazon from elsewhere (amazon-order-id begins with S0), or of a request of this store.';
COMMENT ON COLUMN fba.shipment_item.report_requested_at IS 'When the report was asked for in which the present values were first seen.';

-- What tells rows without a shipment-item-id apart. The date joins in only where nothing else names the shipment.
CREATE FUNCTION fba.shipment_group(
    amazon_order_id text, amazon_order_item_id text, sku text, shipment_id text, tracking_number text, shipment_date timestamptz
) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(amazon_order_id, '') || E'\t' || coalesce(amazon_order_item_id, '') || E'\t' || coalesce(sku, '') || E'\t'
        || coalesce(shipment_id, '') || E'\t' || coalesce(tracking_number, '') || E'\t'
        || CASE WHEN coalesce(shipment_id, '') = '' AND coalesce(tracking_number, '') = ''
                THEN coalesce(extract(epoch FROM shipment_date)::text, '') ELSE '' END
$$;

ALTER TABLE fba.fulfillment_request ADD COLUMN amazon_order_asked_at timestamptz;
COMMENT ON COLUMN fba.fulfillment_request.amazon_order_asked_at IS
    'When amazon_order_status was last asked for, because units of an accepted request were not shipped.';

CREATE VIEW fba.fulfillment_progress AS
SELECT store, fr_number, sku, ordered, shipped, greatest(ordered - shipped, 0) AS open,
       greatest(shipped - ordered, 0) AS over_shipped,
       CASE WHEN shipped = 0 THEN 'open' WHEN shipped < ordered THEN 'partial' ELSE 'complete' END AS status,
       tracking_numbers, carriers, service_level
FROM (
    SELECT r.store, r.fr_number, l.sku, sum(l.ordered)::bigint AS ordered, sum(l.shipped)::bigint AS shipped,
           coalesce(array_agg(DISTINCT l.tracking_number) FILTER (WHERE l.tracking_number <> ''), '{}') AS tracking_numbers,
           coalesce(array_agg(DISTINCT l.carrier) FILTER (WHERE l.carrier <> ''), '{}') AS carriers,
           string_agg(DISTINCT l.service_level, ', ') FILTER (WHERE l.service_level <> '') AS service_level
    FROM fba.fulfillment_request AS r
    JOIN (
        SELECT store, fr_number, sku, quantity::bigint AS ordered, 0::bigint AS shipped,
               NULL AS tracking_number, NULL AS carrier, NULL AS service_level
        FROM fba.fulfillment_request_item
        UNION ALL
        SELECT store, coalesce(fr_number, merchant_order_id), sku, 0, quantity, tracking_number, carrier, service_level
        FROM fba.shipment_item WHERE coalesce(fr_number, merchant_order_id) IS NOT NULL
    ) AS l ON l.store = r.store AND l.fr_number = r.fr_number
    WHERE r.status IN ('submitted', 'accepted', 'unknown')
    GROUP BY r.store, r.fr_number, l.sku
) AS lines;
COMMENT ON VIEW fba.fulfillment_progress IS
    'Per line of each request Amazon has: units ordered, shipped in any number of shipments and packages, and still open.';
