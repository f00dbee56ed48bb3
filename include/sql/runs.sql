-- name: begin
INSERT INTO fba.run (dag_id, run_id, store, prepared) VALUES (%(dag_id)s, %(run_id)s, %(store)s, true)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET finished_at = NULL, outcome = NULL, summary = NULL, failure = NULL,
    attention = '{}', rows_in = 0, rows_rejected = 0, rows_changed = 0, prepared = true

-- name: add_task
-- A task that succeeded takes back the failure of its own earlier attempt, not that of another task. In a run that no
-- PrepareRunOperator began, no later task records the outcome: there success is the outcome.
INSERT INTO fba.run AS r (dag_id, run_id, store, calls, throttled_seconds, clock_skew_seconds, finished_at, outcome)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, %(calls)s, %(throttled_seconds)s,
        extract(epoch FROM greatest(clock_timestamp(), %(worker_time)s::timestamptz, %(amazon_time)s::timestamptz)
                         - least(clock_timestamp(), %(worker_time)s::timestamptz, %(amazon_time)s::timestamptz)),
        CASE WHEN %(succeeded)s THEN clock_timestamp() END, CASE WHEN %(succeeded)s THEN 'success' END)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET
    throttled_seconds = r.throttled_seconds + excluded.throttled_seconds,
    calls = fba.add_counts(r.calls, excluded.calls),
    clock_skew_seconds = greatest(r.clock_skew_seconds, excluded.clock_skew_seconds),
    (finished_at, outcome, failure, summary) = (
        SELECT CASE WHEN changes THEN excluded.finished_at ELSE r.finished_at END,
               CASE WHEN changes AND r.prepared THEN NULL WHEN changes THEN excluded.outcome ELSE r.outcome END,
               CASE WHEN changes THEN NULL ELSE r.failure END,
               CASE WHEN changes AND own_failure THEN nullif(regexp_replace(r.summary, '^[^\n]*\n?', ''), '') ELSE r.summary END
        FROM (
            SELECT own_failure, %(succeeded)s AND (own_failure OR NOT r.prepared AND r.outcome IS NULL) AS changes
            FROM (SELECT r.outcome = 'failed' AND starts_with(r.failure, %(task_id)s || ': ') AS own_failure) AS o
        ) AS rule
    )

-- name: add
-- Every task adds its sentence and its counts, the newest first; the last one says how the run ended. What an earlier attempt
-- of the task wrote about its failure, the first line, is replaced; the failure of another task stays.
INSERT INTO fba.run AS r (dag_id, run_id, store, summary, outcome, finished_at, rows_in, rows_rejected, rows_changed, attention)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, nullif(%(summary)s, ''), %(outcome)s::text,
        CASE WHEN %(outcome)s::text IS NOT NULL THEN clock_timestamp() END,
        %(rows_in)s, %(rows_rejected)s, %(rows_changed)s, %(attention)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET
    (summary, outcome, finished_at, failure) = (
        SELECT nullif(concat_ws(E'\n', excluded.summary,
                   CASE WHEN own_failure THEN nullif(regexp_replace(r.summary, '^[^\n]*\n?', ''), '') ELSE r.summary END), ''),
               CASE WHEN others_failure THEN r.outcome ELSE excluded.outcome END,
               CASE WHEN others_failure THEN r.finished_at ELSE excluded.finished_at END,
               CASE WHEN others_failure THEN r.failure END
        FROM (
            SELECT own_failure, r.outcome = 'failed' AND NOT own_failure AS others_failure
            FROM (SELECT r.outcome = 'failed' AND coalesce(starts_with(r.failure, %(task_id)s || ': '), false) AS own_failure) AS o
        ) AS rule
    ),
    attention = fba.add_counts(r.attention, excluded.attention),
    rows_in = r.rows_in + excluded.rows_in, rows_rejected = r.rows_rejected + excluded.rows_rejected,
    rows_changed = r.rows_changed + excluded.rows_changed

-- name: finish
INSERT INTO fba.run (dag_id, run_id, store, finished_at, outcome, summary, failure, rows_in, rows_rejected, rows_changed, attention)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, clock_timestamp(), %(outcome)s, %(summary)s, %(failure)s,
        %(rows_in)s, %(rows_rejected)s, %(rows_changed)s, %(attention)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET
    finished_at = excluded.finished_at, outcome = excluded.outcome, summary = excluded.summary, failure = excluded.failure,
    rows_in = excluded.rows_in, rows_rejected = excluded.rows_rejected, rows_changed = excluded.rows_changed,
    attention = excluded.attention

-- name: fail
-- In the first line of the summary, in place of what an earlier attempt wrote there; what other tasks did stays below.
INSERT INTO fba.run AS r (dag_id, run_id, store, finished_at, outcome, summary, failure)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, clock_timestamp(), 'failed', %(summary)s, %(failure)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET finished_at = excluded.finished_at, outcome = excluded.outcome,
    summary = concat_ws(E'\n', excluded.summary, nullif(
        CASE WHEN r.outcome = 'failed' AND starts_with(r.failure, %(task_id)s || ': ')
             THEN regexp_replace(r.summary, '^[^\n]*\n?', '') ELSE r.summary END, '')),
    failure = excluded.failure

-- name: postpone
-- What has failed stays failed.
INSERT INTO fba.run AS r (dag_id, run_id, store, finished_at, outcome, summary)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, clock_timestamp(), 'skipped', %(summary)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET finished_at = excluded.finished_at, outcome = excluded.outcome,
    summary = excluded.summary
WHERE r.outcome IS DISTINCT FROM 'failed'

-- name: end_unfinished
-- Stores whose tasks were killed before they could record how they ended.
UPDATE fba.run SET finished_at = clock_timestamp(), outcome = 'failed', failure = 'it did not finish; the logs of its tasks say why'
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND outcome IS NULL

-- name: add_clock_skew
UPDATE fba.run SET attention = attention || jsonb_build_object('clock_skew', round(clock_skew_seconds))
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND clock_skew_seconds > %(most)s

-- name: add_stale_stock
-- The newest applied reports are too old, or, where the run failed, there never were any.
UPDATE fba.run AS r SET attention = attention || jsonb_build_object('stale_stock', 1)
FROM fba.store AS s
WHERE r.dag_id = %(dag_id)s AND r.run_id = %(run_id)s AND s.store = r.store
  AND EXISTS (SELECT FROM fba.needs_attention AS n WHERE n.store = r.store AND n.code = 'stale_stock')

-- name: add_waiting
-- Requests that wait or are unknown for hours. The sentence is the last one: the first line may be a failure's.
UPDATE fba.run AS r SET attention = r.attention || w.counts,
    summary = concat_ws(E'\n', nullif(regexp_replace(r.summary, '(^|\n)The oldest due request has waited [^\n]*$', ''), ''), w.sentence)
FROM (
    SELECT n.store, jsonb_object_agg(n.code, n.number) AS counts,
           'The oldest due request has waited '
               || floor(extract(epoch FROM statement_timestamp() - min(n.since) FILTER (WHERE n.code = 'waiting_long')) / 3600) || ' h.' AS sentence
    FROM (
        SELECT store, code, count(*) AS number, min(since) AS since FROM fba.needs_attention
        WHERE code IN ('waiting_long', 'slow_feed') OR code = 'unknown' AND since < statement_timestamp() - interval '6 hours'
        GROUP BY store, code
    ) AS n GROUP BY n.store
) AS w
WHERE r.dag_id = %(dag_id)s AND r.run_id = %(run_id)s AND r.store = w.store

-- name: set_stores
WITH gone AS (DELETE FROM fba.store WHERE store <> ALL(%(stores)s))
INSERT INTO fba.store (store, max_stock_age_hours) SELECT * FROM unnest(%(stores)s::text[], %(hours)s::double precision[])
ON CONFLICT (store) DO UPDATE SET max_stock_age_hours = excluded.max_stock_age_hours, seen_at = now()
WHERE fba.store.max_stock_age_hours <> excluded.max_stock_age_hours OR fba.store.seen_at < now() - interval '1 day'

-- name: of_run
-- The rows of a run, each with the attention of the store's previous run if that began on the same day, and with what else
-- needs a person there, whichever run found it.
WITH standing AS MATERIALIZED (
    SELECT store, code, sum(number)::bigint AS number FROM fba.needs_attention WHERE code <> 'failed_run' GROUP BY store, code
)
SELECT r.store, r.outcome, r.summary, r.failure, r.attention, r.calls, r.throttled_seconds, r.rows_in, r.rows_rejected,
       r.rows_changed, extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at)::float AS seconds,
       coalesce(before.attention, '{}') AS previous_attention,
       (SELECT coalesce(jsonb_object_agg(s.code, s.number ORDER BY s.code), '{}') FROM standing AS s
        WHERE s.store = r.store AND NOT r.attention ? s.code) AS standing
FROM fba.run AS r
LEFT JOIN LATERAL (
    SELECT CASE WHEN (b.started_at AT TIME ZONE 'UTC')::date = (r.started_at AT TIME ZONE 'UTC')::date THEN b.attention END AS attention FROM fba.run AS b
    WHERE b.dag_id = r.dag_id AND b.store = r.store AND b.started_at < r.started_at AND b.finished_at IS NOT NULL
    ORDER BY b.started_at DESC LIMIT 1
) AS before ON true
WHERE r.dag_id = %(dag_id)s AND r.run_id = %(run_id)s ORDER BY r.store

-- name: remove_addresses
-- Retention: addresses_days after the last shipment, or without one after Amazon or we decided on the request, and in no
-- case later than 90 days after it was created. Not while its feed is being written.
WITH due AS (
    SELECT r.store, r.fr_number
    FROM fba.fulfillment_request AS r
    LEFT JOIN LATERAL (
        SELECT max(i.ship_date) AS last_shipped FROM fba.shipment_item AS i
        WHERE i.store = r.store AND coalesce(i.fr_number, i.merchant_order_id) = r.fr_number
    ) AS s ON true
    WHERE num_nonnulls(r.ship_to_name, r.ship_to_address_1, r.ship_to_address_2, r.ship_to_address_3, r.ship_to_city,
                       r.ship_to_state, r.ship_to_postal_code, r.ship_to_country, r.ship_to_email, r.ship_to_phone) > 0
      AND r.status <> 'sending'
      AND (coalesce(s.last_shipped, r.resolved_at) < clock_timestamp() - make_interval(days => %(addresses_days)s)
           OR r.created_at < clock_timestamp() - interval '90 days')
), removed AS (
    UPDATE fba.fulfillment_request AS r SET
        ship_to_name = NULL, ship_to_address_1 = NULL, ship_to_address_2 = NULL, ship_to_address_3 = NULL, ship_to_city = NULL,
        ship_to_state = NULL, ship_to_postal_code = NULL, ship_to_country = NULL, ship_to_email = NULL, ship_to_phone = NULL
    FROM due WHERE r.store = due.store AND r.fr_number = due.fr_number AND r.status <> 'sending'
    RETURNING r.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: remove_documents
WITH removed AS (
    DELETE FROM fba.report_document WHERE stored_at < clock_timestamp() - make_interval(days => %(raw_documents_days)s)
    RETURNING store, report_id
)
SELECT store, count(DISTINCT report_id) FROM removed GROUP BY store

-- name: remove_rejected_lines
-- They go with the raw copy they came from; their number stays in fba.report.
WITH removed AS (
    DELETE FROM fba.rejected_row AS line
    WHERE NOT EXISTS (SELECT FROM fba.report_document AS d WHERE d.store = line.store AND d.report_id = line.report_id)
    RETURNING store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: remove_processing_reports
WITH removed AS (
    UPDATE fba.feed SET result_document = NULL
    WHERE result_document IS NOT NULL
      AND coalesce(finished_at, submitted_at, claimed_at) < clock_timestamp() - make_interval(days => %(raw_documents_days)s)
    RETURNING store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: remove_orders_at_amazon
-- Not while a request of that number is still to be sent.
WITH removed AS (
    DELETE FROM fba.order_at_amazon AS o
    WHERE o.seen_at < clock_timestamp() - interval '90 days' AND NOT EXISTS (
        SELECT FROM fba.fulfillment_request AS r
        WHERE r.store = o.store AND r.fr_number = o.fr_number AND r.status IN ('pending', 'sending'))
    RETURNING store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: remove_foreign_feeds
-- Amazon lists feeds of the last 90 days, so none comes back.
WITH removed AS (
    DELETE FROM fba.foreign_feed WHERE cleared_at < clock_timestamp() - interval '90 days' RETURNING store
)
SELECT store, count(*) FROM removed GROUP BY store
