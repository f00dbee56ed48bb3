-- A report is compared with the one applied before: what is equal is neither stored nor written again.
ALTER TABLE fba.report
    ADD COLUMN content_digest bytea,
    ADD COLUMN document_report_id text;
CREATE INDEX report_by_document ON fba.report (store, coalesce(document_report_id, report_id));
CREATE INDEX report_by_content ON fba.report (store, report_type, content_digest) WHERE content_digest IS NOT NULL;
COMMENT ON COLUMN fba.report.content_digest IS
    'BLAKE2b-128 of the document as Amazon sent it, with its charset and without the time in its gzip header.';
COMMENT ON COLUMN fba.report.document_report_id IS
    'The report under which fba.report_document has its raw copy, where an equal document was stored before; null: its own.';

-- Which line of which report a row of the copies is does not change while the line stays as it is, wherever it moves.
ALTER TABLE fba.amazon_all_listings_report
    ADD COLUMN line_digest bytea,
    DROP CONSTRAINT amazon_all_listings_report_pkey,
    ADD PRIMARY KEY (store, report_id, line_number);
ALTER TABLE fba.amazon_afn_inventory_report
    ADD COLUMN line_digest bytea,
    DROP CONSTRAINT amazon_afn_inventory_report_pkey,
    ADD PRIMARY KEY (store, report_id, line_number);
COMMENT ON TABLE fba.amazon_all_listings_report IS
    'The lines of the last applied GET_MERCHANT_LISTINGS_ALL_DATA of each store, as Amazon sent them.';
COMMENT ON TABLE fba.amazon_afn_inventory_report IS
    'The lines of the last applied GET_AFN_INVENTORY_DATA of each store, as Amazon sent them.';
COMMENT ON COLUMN fba.amazon_all_listings_report.report_id IS 'The report in which this line was first seen as it is.';
COMMENT ON COLUMN fba.amazon_all_listings_report.line_number IS 'Its line in that report; the header is line 1.';
COMMENT ON COLUMN fba.amazon_all_listings_report.line_digest IS 'BLAKE2b-128 of what the row holds. Null: it is written anew by the next report.';
COMMENT ON COLUMN fba.amazon_afn_inventory_report.report_id IS 'The report in which this line was first seen as it is.';
COMMENT ON COLUMN fba.amazon_afn_inventory_report.line_number IS 'Its line in that report; the header is line 1.';
COMMENT ON COLUMN fba.amazon_afn_inventory_report.line_digest IS 'BLAKE2b-128 of what the row holds. Null: it is written anew by the next report.';

ALTER TABLE fba.amazon_fulfilled_shipments_report ADD COLUMN line_digest bytea;
COMMENT ON COLUMN fba.amazon_fulfilled_shipments_report.line_digest IS
    'BLAKE2b-128 of the line as it was read, without buyer and address: an equal line needs no comparison. Null: it is compared.';
CREATE FUNCTION fba.forget_line_digest() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.line_digest := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER forget_line_digest BEFORE INSERT OR UPDATE ON fba.amazon_fulfilled_shipments_report
    FOR EACH ROW WHEN (NOT fba.is_product()) EXECUTE FUNCTION fba.forget_line_digest();
ALTER TABLE fba.amazon_fulfilled_shipments_report ENABLE ALWAYS TRIGGER forget_line_digest;

-- Who edits the pool or a copy by hand is noticed, so that the next report puts it right. An edit that is not committed yet
-- counts when it is; no trigger setting of a session switches this off.
CREATE TABLE fba.stock_edit (
    relation text PRIMARY KEY,
    edits bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE fba.stock_edit IS 'How often somebody other than the product has written to the pool or a parsed copy.';
INSERT INTO fba.stock_edit (relation)
VALUES ('global_inventory_pool'), ('amazon_all_listings_report'), ('amazon_afn_inventory_report');
CREATE FUNCTION fba.count_stock_edit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE fba.stock_edit SET edits = edits + 1 WHERE relation = TG_TABLE_NAME;
    RETURN NULL;
END $$;
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT relation FROM fba.stock_edit LOOP
        EXECUTE format('CREATE TRIGGER count_stock_edit AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON fba.%I'
                       ' FOR EACH STATEMENT WHEN (NOT fba.is_product()) EXECUTE FUNCTION fba.count_stock_edit()', name);
        EXECUTE format('ALTER TABLE fba.%I ENABLE ALWAYS TRIGGER count_stock_edit', name);
    END LOOP;
END $$;

CREATE TABLE fba.applied_stock (
    store text PRIMARY KEY,
    listings_report_id text NOT NULL,
    afn_report_id text NOT NULL,
    listings_digest bytea,
    afn_digest bytea,
    rules_digest bytea NOT NULL,
    edits jsonb NOT NULL,
    held text[],
    result jsonb,
    applied_at timestamptz NOT NULL CHECK (applied_at BETWEEN '2000-01-01' AND '2100-01-01')
);
COMMENT ON TABLE fba.applied_stock IS 'What the pool of a store was made from last, and whether an equal pair of reports would change nothing.';
COMMENT ON COLUMN fba.applied_stock.rules_digest IS 'Of the settings and the code by which it was made.';
COMMENT ON COLUMN fba.applied_stock.edits IS 'fba.stock_edit as it was before the pool and the copies were read.';
COMMENT ON COLUMN fba.applied_stock.held IS 'SKUs that kept their last values. Null: unknown, or too many to list.';
COMMENT ON COLUMN fba.applied_stock.result IS 'What a run reports of an equal pair. Null: an equal pair is merged again.';
