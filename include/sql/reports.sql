-- name: lock_report_type
-- Held until the transaction ends: one task at a time asks for a report of this type.
SELECT pg_advisory_xact_lock(hashtext('fba.report'), hashtext(%(store)s || ' ' || %(report_type)s))

-- name: correct_impossible_times
-- A time of ours that is still to come was written by a clock that was ahead: how old such a report is, nobody knows. It gets one at
-- which nobody uses it or waits for it any more, and none after that of the last report whose age is known.
UPDATE fba.report AS r SET
    requested_at = CASE WHEN r.requested_at > clock_timestamp() THEN least(clock_timestamp() - interval '3 days', (
        SELECT max(known.requested_at) FROM fba.report AS known
        WHERE known.store = r.store AND known.report_type = r.report_type AND known.requested_at <= clock_timestamp()))
        ELSE r.requested_at END,
    finished_at = CASE WHEN r.finished_at > clock_timestamp() THEN clock_timestamp() ELSE r.finished_at END,
    applied_at = CASE WHEN r.applied_at > clock_timestamp() THEN clock_timestamp() ELSE r.applied_at END
WHERE r.store = %(store)s AND r.report_type = %(report_type)s
  AND (r.requested_at > clock_timestamp() OR r.applied_at > clock_timestamp())

-- name: reusable
-- The newest report of exactly this type, window and options that is in flight, for at most the timeout, or younger than the
-- cool-down, and whose content was not refused.
SELECT request_id, report_id, status, requested_at FROM fba.report
WHERE store = %(store)s AND report_type = %(report_type)s AND marketplace_id = %(marketplace_id)s
  AND data_start IS NOT DISTINCT FROM %(data_start)s AND data_end IS NOT DISTINCT FROM %(data_end)s
  AND options = %(options)s
  AND requested_at > clock_timestamp() - CASE WHEN status = ANY(%(finished)s) THEN %(cooldown)s ELSE %(timeout)s END
  AND status <> 'REQUESTING' AND (refused_at IS NULL OR %(even_refused)s)
ORDER BY requested_at DESC LIMIT 1

-- name: newest_equal
SELECT newer.report_id, newer.status FROM fba.report AS newer JOIN fba.report AS ours
    ON (newer.store, newer.report_type, newer.marketplace_id, newer.options) = (ours.store, ours.report_type, ours.marketplace_id, ours.options)
   AND newer.data_start IS NOT DISTINCT FROM ours.data_start AND newer.data_end IS NOT DISTINCT FROM ours.data_end
WHERE ours.store = %(store)s AND ours.report_id = %(report_id)s AND newer.report_id IS NOT NULL
  AND newer.requested_at >= ours.requested_at AND (newer.requested_at <= clock_timestamp() OR newer.report_id = ours.report_id)
ORDER BY newer.requested_at DESC, length(newer.report_id) DESC, newer.report_id DESC LIMIT 1

-- name: hanging
-- Equal reports that are unfinished after the timeout, for three days, and newer than what was applied.
SELECT report_id FROM fba.report AS r
WHERE store = %(store)s AND report_type = %(report_type)s AND marketplace_id = %(marketplace_id)s
  AND data_start IS NOT DISTINCT FROM %(data_start)s AND data_end IS NOT DISTINCT FROM %(data_end)s
  AND options = %(options)s AND report_id IS NOT NULL AND status <> ALL(%(finished)s)
  AND requested_at BETWEEN clock_timestamp() - interval '3 days' AND clock_timestamp() - %(timeout)s
  AND NOT EXISTS (SELECT FROM fba.report AS a WHERE a.store = r.store AND a.report_type = r.report_type
                  AND a.applied_at IS NOT NULL AND a.requested_at > r.requested_at)
ORDER BY requested_at DESC LIMIT 3

-- name: record_intent
INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, data_start, data_end, options, status,
                        requested_at)
VALUES (%(request_id)s, %(store)s, %(report_id)s, %(report_type)s, %(marketplace_id)s, %(data_start)s, %(data_end)s,
        %(options)s, CASE WHEN %(report_id)s::text IS NULL THEN 'REQUESTING' ELSE 'IN_QUEUE' END,
        coalesce(%(requested_at)s, clock_timestamp()))

-- name: intents_without_id
SELECT request_id, data_start, data_end, options, requested_at FROM fba.report
WHERE store = %(store)s AND report_type = %(report_type)s AND marketplace_id = %(marketplace_id)s AND report_id IS NULL
ORDER BY requested_at DESC

-- name: record_id
UPDATE fba.report SET report_id = %(report_id)s, status = 'IN_QUEUE' WHERE request_id = %(request_id)s

-- name: delete_intent
DELETE FROM fba.report WHERE request_id = %(request_id)s AND report_id IS NULL

-- name: known_ids
SELECT report_id FROM fba.report WHERE store = %(store)s AND report_id = ANY(%(report_ids)s)

-- name: by_id
SELECT request_id, store, report_id, report_type, marketplace_id, data_start, data_end, options, status, document_id,
       requested_at, applied_at, refused_at, row_count, rejected_row_count, columns
FROM fba.report WHERE store = %(store)s AND report_id = %(report_id)s

-- name: record_state
-- Amazon's time is kept apart: requested_at and finished_at are this database's.
UPDATE fba.report SET
    status = %(status)s,
    document_id = coalesce(%(document_id)s, document_id),
    amazon_created_at = coalesce(%(created_at)s, amazon_created_at),
    finished_at = CASE WHEN %(finished)s THEN coalesce(finished_at, clock_timestamp()) END
WHERE store = %(store)s AND report_id = %(report_id)s

-- name: record_rows
UPDATE fba.report SET row_count = %(row_count)s, rejected_row_count = %(rejected_row_count)s,
    columns = coalesce(%(columns)s::text[], columns)
WHERE store = %(store)s AND report_id = %(report_id)s

-- name: record_refused
UPDATE fba.report SET refused_at = clock_timestamp()
WHERE store = %(store)s AND report_id = ANY(%(report_ids)s) AND refused_at IS NULL

-- name: applied_before
-- The report of the same type and window options that was applied last before this one.
SELECT before.columns, before.row_count, before.rejected_row_count FROM fba.report AS before
JOIN fba.report AS ours ON ours.store = before.store AND ours.report_type = before.report_type
WHERE ours.store = %(store)s AND ours.report_id = %(report_id)s AND before.report_id <> ours.report_id
  AND before.applied_at IS NOT NULL AND before.row_count IS NOT NULL AND before.requested_at <= ours.requested_at
ORDER BY before.requested_at DESC LIMIT 1

-- name: record_applied
UPDATE fba.report SET applied_at = clock_timestamp() WHERE store = %(store)s AND report_id = ANY(%(report_ids)s)

-- name: delete_document
DELETE FROM fba.report_document WHERE store = %(store)s AND report_id = %(report_id)s

-- name: insert_chunk
INSERT INTO fba.report_document (store, report_id, chunk, content, charset)
VALUES (%(store)s, %(report_id)s, %(chunk)s, %(content)s, %(charset)s)

-- name: equal_document
-- The raw copy of an equal document, by its first chunk. After a week one is stored anew: its key may be on its way out.
SELECT d.report_id, d.content FROM fba.report AS r JOIN fba.report_document AS d USING (store, report_id)
WHERE r.store = %(store)s AND r.report_type = %(report_type)s AND r.content_digest = %(digest)s AND r.report_id <> %(report_id)s
  AND r.requested_at > clock_timestamp() - interval '7 days' AND d.chunk = 0
ORDER BY r.requested_at DESC LIMIT 1

-- name: share_document
-- The raw copy of an equal document becomes this report's too, and is kept as long as a new one.
WITH kept AS (
    UPDATE fba.report_document SET stored_at = clock_timestamp() WHERE store = %(store)s AND report_id = %(equal)s RETURNING report_id
)
UPDATE fba.report SET content_digest = %(digest)s, document_report_id = %(equal)s
WHERE store = %(store)s AND report_id = %(report_id)s AND EXISTS (SELECT FROM kept)
RETURNING document_report_id

-- name: record_digest
UPDATE fba.report SET content_digest = %(digest)s, document_report_id = CASE WHEN %(shared)s THEN document_report_id END
WHERE store = %(store)s AND report_id = %(report_id)s

-- name: has_document
SELECT EXISTS (
    SELECT FROM fba.report AS r JOIN fba.report_document AS d ON d.store = r.store AND d.report_id = coalesce(r.document_report_id, r.report_id)
    WHERE r.store = %(store)s AND r.report_id = %(report_id)s) AS stored

-- name: chunks
SELECT d.content, d.charset
FROM fba.report AS r JOIN fba.report_document AS d ON d.store = r.store AND d.report_id = coalesce(r.document_report_id, r.report_id)
WHERE r.store = %(store)s AND r.report_id = %(report_id)s ORDER BY d.chunk

-- name: delete_rejected
DELETE FROM fba.rejected_row WHERE store = %(store)s AND report_id = %(report_id)s

-- name: copy_rejected
COPY fba.rejected_row (store, report_id, line_number, reason, sku, raw_line) FROM STDIN

-- name: clear_copy
DELETE FROM {table} WHERE store = %(store)s

-- name: known_lines
-- Digest and line number of every row, many in one value; a digest that is missing makes the first text too short.
SELECT report_id, string_agg(line_digest, ''::bytea), string_agg(int8send(line_number), ''::bytea)
FROM {table} WHERE store = %(store)s GROUP BY report_id

-- name: delete_lines
DELETE FROM {table} AS line
USING unnest(%(report_ids)s::text[], %(line_numbers)s::bigint[]) AS gone (report_id, line_number)
WHERE line.store = %(store)s AND line.report_id = gone.report_id AND line.line_number = gone.line_number
RETURNING line.seller_sku

-- name: fill_copy
COPY {table} ({columns}) FROM STDIN

-- name: repeat_evidence
-- Of a document that is equal to an earlier report's: the same counts and the same rejected lines.
WITH lines AS (
    INSERT INTO fba.rejected_row (store, report_id, line_number, reason, sku, raw_line)
    SELECT store, %(report_id)s, line_number, reason, sku, raw_line FROM fba.rejected_row
    WHERE store = %(store)s AND report_id = %(earlier)s ON CONFLICT DO NOTHING
)
UPDATE fba.report AS r SET row_count = e.row_count, rejected_row_count = e.rejected_row_count, columns = e.columns
FROM fba.report AS e
WHERE r.store = %(store)s AND r.report_id = %(report_id)s AND e.store = r.store AND e.report_id = %(earlier)s

-- name: tune_for_bulk
-- For this transaction: sorts and joins of millions of rows in memory, no JIT for statements that run once.
SELECT set_config('work_mem', '256MB', true), set_config('jit', 'off', true)

-- name: avoid_nested_loops
-- For this transaction: planned for a table that is still empty, they would take hours over the rows of a first load.
SELECT set_config('enable_nestloop', 'off', true)
