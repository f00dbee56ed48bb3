-- Stock is changed by what a report states, not by what it leaves out; ages are measured by this database's clock.
ALTER TABLE fba.global_inventory_pool
    ADD COLUMN fba_unconfirmed_since timestamptz,
    ADD COLUMN fbm_unconfirmed_since timestamptz,
    ADD COLUMN unconfirmed_since timestamptz GENERATED ALWAYS AS (least(fba_unconfirmed_since, fbm_unconfirmed_since)) STORED;
CREATE INDEX pool_unconfirmed ON fba.global_inventory_pool (store, unconfirmed_since) WHERE unconfirmed_since IS NOT NULL;
COMMENT ON COLUMN fba.global_inventory_pool.unconfirmed_since IS
    'Since when no report states a quantity of this SKU, which keeps its last one until a later pair of reports agrees; else null.';

ALTER TABLE fba.report
    ADD COLUMN amazon_created_at timestamptz CHECK (amazon_created_at BETWEEN '2000-01-01' AND '2100-01-01'),
    ADD COLUMN refused_at timestamptz,
    ADD COLUMN columns text[];
COMMENT ON COLUMN fba.report.requested_at IS 'When it was asked for, by this database''s clock.';
COMMENT ON COLUMN fba.report.amazon_created_at IS 'Amazon''s createdTime. Never used as an age: it is another clock.';
COMMENT ON COLUMN fba.report.refused_at IS 'When its content was refused; the next run asks for a new report.';
COMMENT ON COLUMN fba.report.columns IS 'The header of the document as Amazon sent it.';

ALTER TABLE fba.run ADD COLUMN clock_skew_seconds double precision NOT NULL DEFAULT 0;
COMMENT ON COLUMN fba.run.clock_skew_seconds IS 'Largest difference seen between the clocks of this database, a worker and Amazon.';

ALTER TABLE fba.fulfillment_request ADD COLUMN acknowledged_at timestamptz;
COMMENT ON COLUMN fba.fulfillment_request.acknowledged_at IS 'Set by hand: a person has seen that it is invalid or rejected, and needs no reminder.';

-- What stores.yaml says, as far as a view needs it; written by the first task of every run.
CREATE TABLE fba.store (
    store text PRIMARY KEY,
    max_stock_age_hours double precision NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE fba.store IS 'The stores of stores.yaml.';

-- Overdue requests are looked up at Amazon, so those that never were need not be searched.
CREATE INDEX fulfillment_request_looked_up ON fba.fulfillment_request (store, fr_number)
    WHERE status = 'accepted' AND amazon_order_asked_at IS NOT NULL;
-- The few requests that are not settled, and the few runs with something to report, for all stores at once.
CREATE INDEX fulfillment_request_unsettled ON fba.fulfillment_request (status)
    WHERE status IN ('pending', 'sending', 'submitted', 'unknown', 'invalid', 'rejected');
CREATE INDEX run_failed ON fba.run (started_at) WHERE outcome = 'failed';
CREATE INDEX run_with_attention ON fba.run (started_at) WHERE attention <> '{}';
