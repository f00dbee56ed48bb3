-- name: adoptable
-- The newest report of exactly this type, window and options that is in flight or younger than :cooldown.
SELECT request_id, report_id, status, requested_at FROM fba.report
WHERE store = %(store)s AND report_type = %(report_type)s AND marketplace_id = %(marketplace_id)s
  AND data_start IS NOT DISTINCT FROM %(data_start)s AND data_end IS NOT DISTINCT FROM %(data_end)s
  AND options = %(options)s
  AND (status IN ('IN_QUEUE', 'IN_PROGRESS') AND requested_at > clock_timestamp() - interval '1 day'
       OR status IN ('DONE', 'FATAL', 'CANCELLED') AND requested_at > clock_timestamp() - %(cooldown)s)
ORDER BY requested_at DESC LIMIT 1

-- name: intend
INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, data_start, data_end, options, status,
                        requested_at)
VALUES (%(request_id)s, %(store)s, %(report_id)s, %(report_type)s, %(marketplace_id)s, %(data_start)s, %(data_end)s,
        %(options)s, CASE WHEN %(report_id)s::text IS NULL THEN 'REQUESTING' ELSE 'IN_QUEUE' END, clock_timestamp())

-- name: lost
SELECT request_id, data_start, data_end, options, requested_at FROM fba.report
WHERE store = %(store)s AND report_type = %(report_type)s AND marketplace_id = %(marketplace_id)s AND report_id IS NULL
ORDER BY requested_at DESC

-- name: created
UPDATE fba.report SET report_id = %(report_id)s, status = 'IN_QUEUE' WHERE request_id = %(request_id)s

-- name: forget_intent
DELETE FROM fba.report WHERE request_id = %(request_id)s AND report_id IS NULL

-- name: known_ids
SELECT report_id FROM fba.report WHERE store = %(store)s AND report_id = ANY(%(report_ids)s)

-- name: by_id
SELECT request_id, store, report_id, report_type, marketplace_id, data_start, data_end, options, status, document_id,
       requested_at, applied_at, row_count, rejected_row_count
FROM fba.report WHERE store = %(store)s AND report_id = %(report_id)s

-- name: note_state
UPDATE fba.report SET
    status = %(status)s,
    document_id = coalesce(%(document_id)s, document_id),
    requested_at = coalesce(%(created_at)s, requested_at),
    finished_at = CASE WHEN %(status)s IN ('DONE', 'CANCELLED', 'FATAL') THEN coalesce(%(finished_at)s, clock_timestamp()) END
WHERE store = %(store)s AND report_id = %(report_id)s

-- name: note_rows
UPDATE fba.report SET row_count = %(row_count)s, rejected_row_count = %(rejected_row_count)s
WHERE store = %(store)s AND report_id = %(report_id)s

-- name: note_applied
UPDATE fba.report SET applied_at = clock_timestamp() WHERE store = %(store)s AND report_id = ANY(%(report_ids)s)

-- name: newest_applied
SELECT max(requested_at) FROM fba.report
WHERE store = %(store)s AND report_type = %(report_type)s AND applied_at IS NOT NULL

-- name: forget_document
DELETE FROM fba.report_document WHERE store = %(store)s AND report_id = %(report_id)s

-- name: store_chunk
INSERT INTO fba.report_document (store, report_id, chunk, content, charset)
VALUES (%(store)s, %(report_id)s, %(chunk)s, %(content)s, %(charset)s)

-- name: has_document
SELECT EXISTS (SELECT FROM fba.report_document WHERE store = %(store)s AND report_id = %(report_id)s) AS kept

-- name: chunks
SELECT content, charset FROM fba.report_document WHERE store = %(store)s AND report_id = %(report_id)s ORDER BY chunk

-- name: forget_rejected
DELETE FROM fba.rejected_row WHERE store = %(store)s AND report_id = %(report_id)s

-- name: reject
INSERT INTO fba.rejected_row (store, report_id, line_number, reason, sku, raw_line)
VALUES (%(store)s, %(report_id)s, %(line_number)s, %(reason)s, %(sku)s, %(raw_line)s)

-- name: plan_for_bulk
-- For this transaction: sorts and joins of millions of rows in memory, no compiling of statements that run once, and no
-- loops: planned for a table that is still empty, they would take hours over the rows of a first load.
SELECT set_config('work_mem', '256MB', true), set_config('jit', 'off', true), set_config('enable_nestloop', 'off', true)

-- name: clear_copy
DELETE FROM {table} WHERE store = %(store)s

-- name: fill_copy
COPY {table} (store, report_id, {columns}) FROM STDIN

-- name: purge_documents
WITH old AS (
    DELETE FROM fba.report_document WHERE stored_at < clock_timestamp() - make_interval(days => %(days)s) RETURNING store, report_id
), lines AS (
    UPDATE fba.rejected_row SET raw_line = NULL
    WHERE raw_line IS NOT NULL AND (store, report_id) IN (SELECT store, report_id FROM old)
)
SELECT count(DISTINCT (store, report_id)) FROM old

-- name: begin_run
INSERT INTO fba.run (dag_id, run_id, store) VALUES (%(dag_id)s, %(run_id)s, %(store)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET finished_at = NULL, outcome = NULL, summary = NULL, failure = NULL,
    attention = '{}', rows_in = 0, rows_rejected = 0, rows_changed = 0

-- name: add_calls
INSERT INTO fba.run AS r (dag_id, run_id, store, calls, throttled_seconds)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, %(calls)s, %(throttled_seconds)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET
    throttled_seconds = r.throttled_seconds + excluded.throttled_seconds,
    calls = fba.add_counts(r.calls, excluded.calls)

-- name: finish_run
UPDATE fba.run SET finished_at = clock_timestamp(), outcome = %(outcome)s, summary = %(summary)s, failure = %(failure)s,
    rows_in = %(rows_in)s, rows_rejected = %(rows_rejected)s, rows_changed = %(rows_changed)s, attention = %(attention)s
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND store = %(store)s

-- name: fail_run
INSERT INTO fba.run (dag_id, run_id, store, finished_at, outcome, summary, failure)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, clock_timestamp(), 'failed', %(summary)s, %(failure)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET finished_at = excluded.finished_at, outcome = excluded.outcome,
    summary = excluded.summary, failure = excluded.failure

-- name: put_off_run
-- What failed besides stays failed.
UPDATE fba.run SET finished_at = clock_timestamp(), outcome = 'skipped', summary = %(summary)s
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND store = %(store)s AND outcome IS DISTINCT FROM 'failed'

-- name: end_unfinished
-- Stores whose tasks were killed before they could say how they ended.
UPDATE fba.run SET finished_at = clock_timestamp(), outcome = 'failed', failure = 'it did not finish; the logs of its tasks say why'
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND outcome IS NULL

-- name: runs
-- The rows of a run, each with what the run before it left for a person on the same day.
SELECT r.store, r.outcome, r.summary, r.failure, r.attention, r.calls, r.throttled_seconds, r.rows_in, r.rows_rejected,
       r.rows_changed, extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at)::float AS seconds,
       coalesce(before.attention, '{}') AS told_before
FROM fba.run AS r
LEFT JOIN LATERAL (
    SELECT CASE WHEN (b.started_at AT TIME ZONE 'UTC')::date = (r.started_at AT TIME ZONE 'UTC')::date THEN b.attention END AS attention FROM fba.run AS b
    WHERE b.dag_id = r.dag_id AND b.store = r.store AND b.started_at < r.started_at AND b.finished_at IS NOT NULL
    ORDER BY b.started_at DESC LIMIT 1
) AS before ON true
WHERE r.dag_id = %(dag_id)s AND r.run_id = %(run_id)s ORDER BY r.store
