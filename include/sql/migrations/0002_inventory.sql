-- fba_get_inventory: the Global Inventory Pool and the parsed copies of the two reports it is made from.
CREATE TABLE fba.global_inventory_pool (
    store text NOT NULL,
    sku text NOT NULL,
    title text,
    description text,
    brand text,
    price numeric,
    category1 text,
    category2 text,
    category3 text,
    asin text,
    fulfillment_channel text,
    listing_status text,
    fba_quantity bigint NOT NULL CHECK (fba_quantity >= 0),
    fbm_quantity bigint NOT NULL CHECK (fbm_quantity >= 0),
    quantity bigint NOT NULL CHECK (quantity >= 0),
    quantity_source text NOT NULL
        CHECK (quantity_source IN ('afn_report', 'listings_report', 'fba_api', 'default_zero')),
    afn_report_id text,
    listings_report_id text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (store, sku)
);
COMMENT ON COLUMN fba.global_inventory_pool.quantity_source IS 'Where fba_quantity came from.';
COMMENT ON COLUMN fba.global_inventory_pool.updated_at IS 'When a value of this row last changed.';

CREATE TABLE fba.amazon_all_listings_report (
    store text NOT NULL,
    line_number bigint NOT NULL,
    report_id text NOT NULL,
    item_name text,
    item_description text,
    listing_id text,
    seller_sku text,
    price text,
    quantity text,
    open_date text,
    image_url text,
    item_is_marketplace text,
    product_id_type text,
    zshop_shipping_fee text,
    item_note text,
    item_condition text,
    zshop_category1 text,
    zshop_browse_path text,
    zshop_storefront_feature text,
    asin1 text,
    asin2 text,
    asin3 text,
    will_ship_internationally text,
    expedited_shipping text,
    zshop_boldface text,
    product_id text,
    bid_for_featured_placement text,
    add_delete text,
    pending_quantity text,
    fulfillment_channel text,
    merchant_shipping_group text,
    status text,
    extra jsonb,
    PRIMARY KEY (store, line_number)
);
COMMENT ON TABLE fba.amazon_all_listings_report IS
    'The last applied GET_MERCHANT_LISTINGS_ALL_DATA of each store, as Amazon sent it; the header is line 1.';

CREATE TABLE fba.amazon_afn_inventory_report (
    store text NOT NULL,
    line_number bigint NOT NULL,
    report_id text NOT NULL,
    seller_sku text,
    fulfillment_channel_sku text,
    asin text,
    condition_type text,
    warehouse_condition_code text,
    quantity_available text,
    extra jsonb,
    PRIMARY KEY (store, line_number)
);
COMMENT ON TABLE fba.amazon_afn_inventory_report IS
    'The last applied GET_AFN_INVENTORY_DATA of each store, as Amazon sent it; the header is line 1.';
