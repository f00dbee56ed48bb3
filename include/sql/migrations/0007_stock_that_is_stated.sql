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

-- statement_timestamp(), not clock_timestamp(): that is volatile, so no index on a time could be used.
CREATE VIEW fba.needs_attention AS
WITH recent AS (  -- events of the last day: the newest run that reported each
    SELECT DISTINCT ON (r.store, a.code) r.store, a.code, a.number::bigint AS number, r.finished_at
    FROM fba.run AS r CROSS JOIN LATERAL jsonb_each_text(r.attention) AS a (code, number)
    WHERE r.started_at > statement_timestamp() - interval '24 hours' AND r.finished_at IS NOT NULL AND r.attention <> '{}'
      AND a.code IN ('zeroed_skus', 'vanished_skus', 'units_jumped', 'report_drift', 'rejected_lines', 'conflicting_skus', 'shared_fnsku', 'clock_skew')
    ORDER BY r.store, a.code, r.started_at DESC
), stock AS (
    SELECT s.store, s.max_stock_age_hours, (
        SELECT min(coalesce(newest.requested_at, s.first_run))  -- a report that never came is as old as the first run
        FROM (VALUES ('GET_MERCHANT_LISTINGS_ALL_DATA'), ('GET_AFN_INVENTORY_DATA')) AS t (report_type)
        LEFT JOIN LATERAL (
            SELECT r.requested_at FROM fba.report AS r
            WHERE r.store = s.store AND r.report_type = t.report_type AND r.applied_at IS NOT NULL
            ORDER BY r.requested_at DESC LIMIT 1
        ) AS newest ON true
    ) AS as_of
    FROM (
        SELECT store, max_stock_age_hours,
               (SELECT min(started_at) FROM fba.run AS r WHERE r.store = k.store AND r.dag_id = 'fba_get_inventory') AS first_run
        FROM fba.store AS k
    ) AS s
), refused AS (
    SELECT DISTINCT ON (r.store, r.report_type) r.store, r.report_id, r.refused_at,
           count(*) OVER (PARTITION BY r.store, r.report_type) AS number,
           min(r.refused_at) OVER (PARTITION BY r.store, r.report_type) AS since
    FROM fba.report AS r
    WHERE r.refused_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM fba.report AS later WHERE later.store = r.store AND later.report_type = r.report_type
          AND later.applied_at IS NOT NULL AND later.requested_at >= r.requested_at)
    ORDER BY r.store, r.report_type, r.requested_at DESC
)
SELECT store, 'failed_run' AS code, dag_id AS subject, 1::bigint AS number, finished_at AS since,
       'Read failure in fba.run and the log of summarise; the runbook has the remedy of each error.' AS remedy
FROM fba.run AS r
WHERE outcome = 'failed' AND finished_at IS NOT NULL AND started_at > statement_timestamp() - interval '7 days' AND NOT EXISTS (
    SELECT FROM fba.run AS later WHERE later.dag_id = r.dag_id AND later.store = r.store
      AND later.started_at > r.started_at AND later.finished_at IS NOT NULL AND later.outcome IN ('success', 'failed'))
UNION ALL
SELECT store, 'stale_stock', NULL, 1, as_of,
       'No newer reports were applied: see the last runs of fba_get_inventory, whether it is paused, and whether Amazon makes reports.'
FROM stock WHERE as_of < statement_timestamp() - make_interval(secs => max_stock_age_hours * 3600)
UNION ALL
SELECT store, 'refused_stock', report_id, number, since,
       'Compare with Seller Central; if the stock really is gone, run fba_get_inventory with accept_zeroed_stock.'
FROM refused
UNION ALL
SELECT store, 'unconfirmed_skus', NULL, count(*), min(unconfirmed_since),
       'No report states these SKUs any more; they keep their quantity until a later pair of reports agrees. Look up those with most units.'
FROM fba.global_inventory_pool WHERE unconfirmed_since IS NOT NULL GROUP BY store
UNION ALL
SELECT store, code, NULL, number, finished_at, CASE code
       WHEN 'zeroed_skus' THEN 'SKUs became 0 although no report stated it: compare with Seller Central.'
       WHEN 'vanished_skus' THEN 'SKUs with stock are in no report any more: compare with Seller Central.'
       WHEN 'units_jumped' THEN 'The units in stock changed implausibly: compare some SKUs with Seller Central.'
       WHEN 'report_drift' THEN 'A report has other columns or far more or fewer rows than before; the run''s summary says which.'
       WHEN 'rejected_lines' THEN 'See fba.rejected_row.'
       WHEN 'conflicting_skus' THEN 'Listings contradict each other; the smallest quantity was taken.'
       WHEN 'shared_fnsku' THEN 'These SKUs draw on the same units at Amazon: do not offer the sum of their quantities.'
       ELSE 'Synchronise the clocks of the database and the workers (NTP).' END
FROM recent
UNION ALL
SELECT store, status, fr_number, 1, coalesce(resolved_at, sent_at, created_at),
       'Put right what status_reason says, then set status to pending; or set acknowledged_at.'
FROM fba.fulfillment_request
WHERE status IN ('invalid', 'rejected') AND coalesce(acknowledged_at < resolved_at, acknowledged_at IS NULL)
UNION ALL
SELECT r.store, CASE WHEN feed.is_open THEN 'unknown' ELSE 'stuck' END, r.fr_number, 1, coalesce(r.resolved_at, r.sent_at, r.created_at),
       CASE WHEN feed.is_open THEN 'Nothing yet: the runs go on looking for it among Amazon''s orders.'
       ELSE 'Look in Seller Central under this number and set status by hand: no run looks for it any more.' END
FROM fba.fulfillment_request AS r CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM fba.feed AS f JOIN fba.feed_message AS m USING (store, document_id)
        WHERE f.settled_at IS NULL AND m.store = r.store AND m.fr_number = r.fr_number) AS is_open
) AS feed
WHERE r.status = 'unknown'
UNION ALL
SELECT store, 'waiting_long', fr_number, 1, created_at, 'Read waiting_reason, and see the last runs of fba_send_fulfillment_requests.'
FROM fba.fulfillment_request
WHERE (status = 'sending' OR status = 'pending' AND starts_with(waiting_reason, 'ready'))
  AND created_at < statement_timestamp() - interval '6 hours'
UNION ALL
SELECT f.store, 'slow_feed', coalesce(f.feed_id, f.document_id), f.message_count, f.submit_started_at,
       'Amazon has not finished this feed; ask Amazon''s support with its id.'
FROM fba.feed AS f WHERE f.settled_at IS NULL AND f.submit_started_at < statement_timestamp() - interval '4 hours'
UNION ALL
SELECT store, 'not_cancelled', fr_number, 1, cancel_requested_at, 'Amazon refused to cancel; status_reason says why. Take cancel_requested_at back, or ask the buyer.'
FROM fba.fulfillment_request
WHERE cancel_requested_at IS NOT NULL AND status IN ('accepted', 'unknown') AND starts_with(status_reason, 'not cancelled')
UNION ALL
SELECT r.store, 'overdue', r.fr_number, p.open, coalesce(least(r.sent_at, r.resolved_at), r.created_at),
       'Accepted more than a day ago and not all shipped: amazon_order_status is Amazon''s status of the order.'
FROM fba.fulfillment_request AS r CROSS JOIN LATERAL (
    SELECT sum(p.open)::bigint AS open FROM fba.fulfillment_progress AS p WHERE p.store = r.store AND p.fr_number = r.fr_number
) AS p
WHERE r.status = 'accepted' AND r.amazon_order_asked_at IS NOT NULL AND p.open > 0
  AND coalesce(r.amazon_order_status, '') <> 'CompletePartialled'
  AND coalesce(least(r.sent_at, r.resolved_at), r.created_at) < statement_timestamp() - interval '24 hours'
UNION ALL
SELECT store, 'of_no_store', fr_number, 1, created_at, 'Correct store, or add the store to stores.yaml: no run sends this.'
FROM fba.fulfillment_request AS r
WHERE status IN ('pending', 'sending', 'submitted', 'unknown') AND EXISTS (SELECT FROM fba.store)
  AND NOT EXISTS (SELECT FROM fba.store AS s WHERE s.store = r.store);
COMMENT ON VIEW fba.needs_attention IS
    'What needs a person now, one row for each thing, whatever run found it: code, subject, number, since when, and what to do.';
