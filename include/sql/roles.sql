-- Optional: who may do what in the warehouse. Three roles without a login of their own:
--   fba_product    the DAGs: everything in the schema fba, which they create and migrate
--   fba_merchant   the system that orders: inserts and edits requests, cancels and sends again; reads them, their progress, the pool
--   fba_reader     a dashboard: everything but addresses, secrets, raw documents, and texts that may quote them
-- Run it again after every upgrade, when the first run of a DAG has migrated the warehouse; it may be run at any time:
--   psql --set ON_ERROR_STOP=1 --dbname warehouse --file include/sql/roles.sql
-- Run it as a superuser, or as a role with CREATEROLE that owns the database and is a member of the DAGs' login.
-- Then give each login its role: CREATE ROLE shop LOGIN PASSWORD '...' IN ROLE fba_merchant
BEGIN;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['fba_product', 'fba_merchant', 'fba_reader'] LOOP
        IF to_regrole(name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
    IF NOT pg_has_role('fba_product', 'SET') THEN
        GRANT fba_product TO CURRENT_USER WITH INHERIT TRUE, SET TRUE;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO fba_product, fba_merchant, fba_reader', current_database());
    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO fba_product', current_database());
END $$;

-- fba_product owns everything, so that any login in it can migrate. Whoever owned it was the DAGs' login and stays that:
-- without the role the database would from now on refuse what only the DAGs may do.
SET LOCAL client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS fba;
DO $$
DECLARE
    thing record;
BEGIN
    FOR thing IN
        SELECT DISTINCT r.rolname AS owner FROM pg_roles AS r
        JOIN (SELECT relowner FROM pg_class WHERE relnamespace = 'fba'::regnamespace
              UNION SELECT nspowner FROM pg_namespace WHERE nspname = 'fba') AS o (oid) ON o.oid = r.oid
        WHERE NOT r.rolsuper AND NOT pg_has_role(r.oid, 'fba_product', 'MEMBER')
    LOOP
        EXECUTE format('GRANT fba_product TO %I', thing.owner);
    END LOOP;
    ALTER SCHEMA fba OWNER TO fba_product;
    FOR thing IN
        SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS kind, relname AS name
        FROM pg_class
        WHERE relnamespace = 'fba'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND relowner <> to_regrole('fba_product')
    LOOP
        EXECUTE format('ALTER %s fba.%I OWNER TO fba_product', thing.kind, thing.name);
    END LOOP;
    FOR thing IN
        SELECT oid::regprocedure AS name FROM pg_proc
        WHERE pronamespace = 'fba'::regnamespace AND proowner <> to_regrole('fba_product')
    LOOP
        EXECUTE format('ALTER ROUTINE %s OWNER TO fba_product', thing.name);
    END LOOP;
    -- What a migration adds belongs to the login that ran it until this file is run again.
    FOR thing IN
        SELECT member::regrole AS name FROM pg_auth_members
        WHERE roleid = to_regrole('fba_product') AND pg_has_role(member, 'USAGE')
    LOOP
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA fba GRANT ALL ON TABLES TO fba_product', thing.name);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA fba GRANT ALL ON SEQUENCES TO fba_product', thing.name);
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA fba TO fba_merchant, fba_reader;
REVOKE ALL ON ALL TABLES IN SCHEMA fba FROM fba_merchant, fba_reader;
DO $$
DECLARE
    given record;
BEGIN
    -- By column where a table has some that the role must not see or write. What an older warehouse lacks is left out.
    FOR given IN
        SELECT w.who, w.may, w.relation,
               CASE WHEN w.columns <> '*' THEN format('(%s)', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)) END AS columns
        FROM (VALUES
            ('fba_merchant', 'SELECT', 'fulfillment_request', '*'),
            ('fba_merchant', 'INSERT', 'fulfillment_request',
                'store fr_number shipping_method displayable_order_number resend_of ship_to_name ship_to_address_1 ship_to_address_2
                ship_to_address_3 ship_to_city ship_to_state ship_to_postal_code ship_to_country ship_to_email ship_to_phone
                order_comment created_at cancel_requested_at acknowledged_at channel packaging block_amazon_logistics signature
                deliver_together deliver_by approved_at approved_by'),
            ('fba_merchant', 'UPDATE', 'fulfillment_request',
                'store fr_number shipping_method displayable_order_number ship_to_name ship_to_address_1 ship_to_address_2
                ship_to_address_3 ship_to_city ship_to_state ship_to_postal_code ship_to_country ship_to_email ship_to_phone
                order_comment created_at status cancel_requested_at acknowledged_at channel packaging block_amazon_logistics
                signature deliver_together deliver_by approved_at approved_by'),
            ('fba_merchant', 'SELECT', 'fulfillment_request_item', '*'),
            ('fba_merchant', 'INSERT', 'fulfillment_request_item', '*'),
            ('fba_merchant', 'UPDATE', 'fulfillment_request_item', '*'),
            ('fba_merchant', 'SELECT', 'fulfillment_quote', '*'),
            ('fba_merchant', 'SELECT', 'fulfillment_progress', '*'),
            ('fba_merchant', 'SELECT', 'package', '*'),
            ('fba_merchant', 'SELECT', 'package_item', '*'),
            ('fba_merchant', 'SELECT', 'request_event', '*'),
            ('fba_merchant', 'SELECT', 'needs_attention', '*'),
            ('fba_merchant', 'SELECT', 'global_inventory_pool', '*'),
            ('fba_merchant', 'SELECT', 'available_to_sell', '*'),
            ('fba_merchant', 'SELECT', 'available_by_fnsku', '*'),
            ('fba_reader', 'SELECT', 'fulfillment_request',
                'store fr_number seller_id shipping_method displayable_order_number resend_of created_at inserted_at status
                waiting_reason waiting_since amazon_order_status amazon_order_asked_at cancel_requested_at acknowledged_at attempts
                claim_id looked_up_at absent_since unknown_since stuck_since sent_at resolved_at channel packaging
                block_amazon_logistics signature deliver_together deliver_by transport speed approved_at approved_by approved_fee
                approval_asked_at'),
            ('fba_reader', 'SELECT', 'fulfillment_request_item', 'store fr_number line sku quantity unit_price title upc'),
            ('fba_reader', 'SELECT', 'fulfillment_quote', '*'),
            ('fba_reader', 'SELECT', 'outbound_order',
                'claim_id batch_id run_id store fr_number seller_id marketplace_id endpoint features held quoted_at claimed_at
                intent_at answered_at settled_at lapsed_at'),
            ('fba_reader', 'SELECT', 'feature', '*'),
            ('fba_reader', 'SELECT', 'fulfillment_progress', '*'),
            ('fba_reader', 'SELECT', 'parcel_line', '*'),
            ('fba_reader', 'SELECT', 'package', '*'),
            ('fba_reader', 'SELECT', 'package_item', '*'),
            ('fba_reader', 'SELECT', 'request_event', '*'),
            ('fba_reader', 'SELECT', 'tracked_order', '*'),
            ('fba_reader', 'SELECT', 'order_cursor', '*'),
            ('fba_reader', 'SELECT', 'needs_attention', '*'),
            ('fba_reader', 'SELECT', 'needs_attention_at_once', '*'),
            ('fba_reader', 'SELECT', 'feed',
                'store document_id claim_id run_id feed_id status message_count claimed_at uploaded_at submit_started_at submitted_at
                finished_at result_document_id judged_at settled_at set_aside_at seller_id marketplace_id endpoint'),
            ('fba_reader', 'SELECT', 'feed_message', 'store document_id message_id fr_number result_code message_code'),
            ('fba_reader', 'SELECT', 'request_words', '*'),
            ('fba_reader', 'SELECT', 'feed_message_words', '*'),
            ('fba_reader', 'SELECT', 'feed_check', 'store checked_until last_claim orders_until'),
            ('fba_reader', 'SELECT', 'foreign_feed', '*'),
            ('fba_reader', 'SELECT', 'order_at_amazon', '*'),
            ('fba_reader', 'SELECT', 'unanswered_number', '*'),
            ('fba_reader', 'SELECT', 'removed_request', '*'),
            ('fba_reader', 'SELECT', 'global_inventory_pool', '*'),
            ('fba_reader', 'SELECT', 'available_to_sell', '*'),
            ('fba_reader', 'SELECT', 'available_by_fnsku', '*'),
            ('fba_reader', 'SELECT', 'promised_units', '*'),
            ('fba_reader', 'SELECT', 'stock_outlook', '*'),
            ('fba_reader', 'SELECT', 'stock_cover', '*'),
            ('fba_reader', 'SELECT', 'wholly_shipped', '*'),
            ('fba_reader', 'SELECT', 'stock_total_change', '*'),
            ('fba_reader', 'SELECT', 'conflicting_sku', '*'),
            ('fba_reader', 'SELECT', 'stock_breakdown', '*'),
            ('fba_reader', 'SELECT', 'breakdown_reading', '*'),
            ('fba_reader', 'SELECT', 'stock_change', '*'),
            ('fba_reader', 'SELECT', 'stock_history', '*'),
            ('fba_reader', 'SELECT', 'available_change', '*'),
            ('fba_reader', 'SELECT', 'publication', '*'),
            ('fba_reader', 'SELECT', 'amazon_all_listings_report', '*'),
            ('fba_reader', 'SELECT', 'amazon_afn_inventory_report', '*'),
            ('fba_reader', 'SELECT', 'amazon_fulfilled_shipments_report',  -- without extra: texts as Amazon sent them
                'store item_key report_id report_requested_at line_number amazon_order_id merchant_order_id shipment_id
                shipment_item_id amazon_order_item_id merchant_order_item_id purchase_date payments_date shipment_date reporting_date
                sku product_name quantity_shipped currency item_price item_tax shipping_price shipping_tax gift_wrap_price
                gift_wrap_tax ship_service_level item_promotion_discount ship_promotion_discount carrier tracking_number
                estimated_arrival_date fulfillment_center_id fulfillment_channel sales_channel points_granted line_digest'),
            ('fba_reader', 'SELECT', 'stock_edit', '*'),
            ('fba_reader', 'SELECT', 'applied_stock',
                'store listings_report_id afn_report_id listings_digest afn_digest rules_digest edits held applied_at'),
            ('fba_reader', 'SELECT', 'shipment_item', '*'),
            ('fba_reader', 'SELECT', 'report', '*'),
            ('fba_reader', 'SELECT', 'rejected_row', 'store report_id line_number reason sku'),
            ('fba_reader', 'SELECT', 'run',
                'dag_id run_id store started_at ends_by finished_at rows_in rows_rejected rows_changed calls throttled_seconds outcome
                attention failure prepared clock_skew_seconds'),
            ('fba_reader', 'SELECT', 'store', '*'),
            ('fba_reader', 'SELECT', 'rate_limit', '*'),
            ('fba_reader', 'SELECT', 'schema_version', '*'),
            ('fba_reader', 'SELECT', 'schema_views', '*')
        ) AS w (who, may, relation, columns)
        JOIN pg_attribute AS a ON a.attrelid = to_regclass('fba.' || w.relation) AND a.attnum > 0 AND NOT a.attisdropped
        WHERE w.columns = '*' OR a.attname = ANY (regexp_split_to_array(w.columns, '\s+'))
        GROUP BY w.who, w.may, w.relation, w.columns
    LOOP
        EXECUTE format('GRANT %s %s ON fba.%I TO %I', given.may, given.columns, given.relation, given.who);
    END LOOP;
    IF to_regclass('fba.fulfillment_request') IS NOT NULL THEN
        GRANT DELETE ON fba.fulfillment_request, fba.fulfillment_request_item TO fba_merchant;
    END IF;
    IF to_regprocedure('fba.resend(text, text)') IS NOT NULL THEN
        REVOKE EXECUTE ON FUNCTION fba.resend(text, text) FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION fba.resend(text, text) TO fba_merchant;
    END IF;
END $$;

COMMIT;
