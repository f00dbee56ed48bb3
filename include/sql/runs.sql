-- name: begin
INSERT INTO fba.run (dag_id, run_id, store, prepared, ends_by)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, true, clock_timestamp() + %(limit)s::interval)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET ends_by = excluded.ends_by, finished_at = NULL, outcome = NULL, summary = NULL, failure = NULL,
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
               CASE WHEN changes AND own_failure THEN (SELECT string_agg(line, E'\n' ORDER BY n) FROM string_to_table(r.summary, E'\n') WITH ORDINALITY AS lines (line, n)
                         WHERE NOT starts_with(line, %(task_id)s || ': ')) ELSE r.summary END
        FROM (
            SELECT own_failure, %(succeeded)s AND (own_failure OR NOT r.prepared AND r.outcome IS NULL) AS changes
            FROM (SELECT r.outcome = 'failed' AND starts_with(r.failure, %(task_id)s || ': ') AS own_failure) AS o
        ) AS rule
    )

-- name: add
-- Every task adds its sentence and its counts, the newest first; the last one says how the run ended. What an earlier attempt
-- of the task wrote about its failure is replaced; the failure of another task stays.
INSERT INTO fba.run AS r (dag_id, run_id, store, summary, outcome, finished_at, rows_in, rows_rejected, rows_changed, attention)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, nullif(%(summary)s, ''), %(outcome)s::text,
        CASE WHEN %(outcome)s::text IS NOT NULL THEN clock_timestamp() END,
        %(rows_in)s, %(rows_rejected)s, %(rows_changed)s, %(attention)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET
    (summary, outcome, finished_at, failure) = (
        SELECT nullif(concat_ws(E'\n', excluded.summary, CASE WHEN own_failure THEN
                   (SELECT string_agg(line, E'\n' ORDER BY n) FROM string_to_table(r.summary, E'\n') WITH ORDINALITY AS lines (line, n)
                    WHERE NOT starts_with(line, %(task_id)s || ': ')) ELSE r.summary END), ''),
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

-- name: note
-- A sentence and counts of a task that comes after the one which says how the run ended. Only its own failure is taken back.
INSERT INTO fba.run AS r (dag_id, run_id, store, summary, attention)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, %(summary)s, %(attention)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET
    (summary, outcome, failure) = (
        SELECT concat_ws(E'\n', CASE WHEN own_failure THEN
                   (SELECT string_agg(line, E'\n' ORDER BY n) FROM string_to_table(r.summary, E'\n') WITH ORDINALITY AS lines (line, n)
                    WHERE NOT starts_with(line, %(task_id)s || ': ')) ELSE r.summary END, excluded.summary),
               CASE WHEN own_failure THEN 'success' ELSE r.outcome END, CASE WHEN own_failure THEN NULL ELSE r.failure END
        FROM (SELECT r.outcome = 'failed' AND coalesce(starts_with(r.failure, %(task_id)s || ': '), false) AS own_failure) AS o
    ),
    attention = r.attention || excluded.attention

-- name: finish
INSERT INTO fba.run (dag_id, run_id, store, finished_at, outcome, summary, failure, rows_in, rows_rejected, rows_changed, attention)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, clock_timestamp(), %(outcome)s, %(summary)s, %(failure)s,
        %(rows_in)s, %(rows_rejected)s, %(rows_changed)s, %(attention)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET
    finished_at = excluded.finished_at, outcome = excluded.outcome, summary = excluded.summary, failure = excluded.failure,
    rows_in = excluded.rows_in, rows_rejected = excluded.rows_rejected, rows_changed = excluded.rows_changed,
    attention = excluded.attention

-- name: fail
-- In the first line of the summary, in place of what an earlier attempt wrote there; what other tasks did stays below, and so
-- does the failure of another task.
INSERT INTO fba.run AS r (dag_id, run_id, store, finished_at, outcome, summary, failure)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, clock_timestamp(), 'failed', %(summary)s, %(failure)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET finished_at = excluded.finished_at, outcome = excluded.outcome,
    summary = concat_ws(E'\n', excluded.summary, nullif(
        CASE WHEN r.outcome = 'failed' AND starts_with(r.failure, %(task_id)s || ': ')
             THEN (SELECT string_agg(line, E'\n' ORDER BY n) FROM string_to_table(r.summary, E'\n') WITH ORDINALITY AS lines (line, n)
                         WHERE NOT starts_with(line, %(task_id)s || ': '))
             ELSE r.summary END, '')),
    failure = CASE WHEN r.outcome = 'failed' AND NOT coalesce(starts_with(r.failure, %(task_id)s || ': '), false)
                   THEN r.failure ELSE excluded.failure END

-- name: postpone
-- What has failed stays failed.
INSERT INTO fba.run AS r (dag_id, run_id, store, finished_at, outcome, summary)
VALUES (%(dag_id)s, %(run_id)s, %(store)s, clock_timestamp(), 'skipped', %(summary)s)
ON CONFLICT (dag_id, run_id, store) DO UPDATE SET finished_at = excluded.finished_at, outcome = excluded.outcome,
    summary = excluded.summary
WHERE r.outcome IS DISTINCT FROM 'failed'

-- name: end_unfinished
-- Stores whose tasks were killed before they could record how they ended. Here and in the next statements a row of the run that
-- another session holds is passed over: the other stores are not kept waiting for it.
UPDATE fba.run SET finished_at = clock_timestamp(), outcome = 'failed', failure = 'it did not finish; the logs of its tasks say why'
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND outcome IS NULL
  AND store IN (SELECT store FROM fba.run WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s FOR UPDATE SKIP LOCKED)

-- name: add_clock_skew
UPDATE fba.run SET attention = attention || jsonb_build_object('clock_skew', round(clock_skew_seconds))
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND clock_skew_seconds > %(most)s
  AND store IN (SELECT store FROM fba.run WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s FOR UPDATE SKIP LOCKED)

-- name: add_stale_stock
-- The newest applied reports are too old, or, where the run failed, there never were any.
UPDATE fba.run AS r SET attention = attention || jsonb_build_object('stale_stock', 1)
FROM fba.store AS s
WHERE r.dag_id = %(dag_id)s AND r.run_id = %(run_id)s AND s.store = r.store
  AND EXISTS (SELECT FROM fba.needs_attention AS n WHERE n.store = r.store AND n.code = 'stale_stock')
  AND r.store IN (SELECT store FROM fba.run WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s FOR UPDATE SKIP LOCKED)

-- name: keep_cover
-- What is equal is not written again, so as_of is when the row was last found to be different.
WITH cover AS (
    SELECT store, sku, fba_units, units_a_day, days_of_cover, inbound, sales_until FROM fba.stock_outlook WHERE units_a_day > 0
), gone AS (
    DELETE FROM fba.stock_cover AS c WHERE NOT EXISTS (SELECT FROM cover AS n WHERE n.store = c.store AND n.sku = c.sku)
)
INSERT INTO fba.stock_cover AS c (store, sku, fba_units, units_a_day, days_of_cover, inbound, sales_until, as_of)
SELECT store, sku, fba_units, units_a_day, days_of_cover, inbound, sales_until, statement_timestamp() FROM cover
ON CONFLICT (store, sku) DO UPDATE SET
    fba_units = excluded.fba_units, units_a_day = excluded.units_a_day, days_of_cover = excluded.days_of_cover, inbound = excluded.inbound,
    sales_until = excluded.sales_until, as_of = excluded.as_of
WHERE (c.fba_units, c.units_a_day, c.days_of_cover, c.inbound) IS DISTINCT FROM
    (excluded.fba_units, excluded.units_a_day, excluded.days_of_cover, excluded.inbound)

-- name: keep_shipped
-- A part in each run, so that the first run after an upgrade does not do all of them.
INSERT INTO fba.wholly_shipped (store, fr_number)
SELECT r.store, r.fr_number
FROM (
    SELECT q.store, q.fr_number FROM fba.fulfillment_request AS q
    WHERE q.status = 'accepted' AND q.amazon_order_asked_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM fba.wholly_shipped AS w WHERE w.store = q.store AND w.fr_number = q.fr_number)
    ORDER BY q.resolved_at DESC LIMIT %(most)s
) AS r
WHERE (SELECT sum(p.open) FROM fba.fulfillment_progress AS p WHERE p.store = r.store AND p.fr_number = r.fr_number) = 0
ON CONFLICT DO NOTHING

-- name: add_low_stock
-- Of stores that want to be told (low_stock_days). The database is not asked where there is none.
UPDATE fba.run AS r SET attention = r.attention || n.counts
FROM (
    SELECT a.store, jsonb_object_agg(a.code, a.number) AS counts FROM fba.needs_attention AS a
    WHERE a.code IN ('low_stock', 'out_of_stock') AND EXISTS (SELECT FROM fba.store WHERE low_stock_days IS NOT NULL)
    GROUP BY a.store
) AS n
JOIN fba.store AS s ON s.store = n.store AND s.low_stock_days IS NOT NULL
WHERE r.dag_id = %(dag_id)s AND r.run_id = %(run_id)s AND r.store = n.store

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
        WHERE code IN ('waiting_long', 'slow_feed', 'hold_lapses', 'blocked_carrier_used') OR code = 'unknown' AND since < statement_timestamp() - interval '6 hours'
        GROUP BY store, code
    ) AS n GROUP BY n.store
) AS w
WHERE r.dag_id = %(dag_id)s AND r.run_id = %(run_id)s AND r.store = w.store
  AND r.store IN (SELECT store FROM fba.run WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s FOR UPDATE SKIP LOCKED)

-- name: add_undelivered
-- What orders and their parcels say: no run finds it, it becomes so.
UPDATE fba.run AS r SET attention = r.attention || n.counts
FROM (
    SELECT c.store, jsonb_object_agg(c.code, c.number) AS counts FROM (
        SELECT store, code, count(*) AS number FROM fba.needs_attention
        WHERE code IN ('late', 'undeliverable', 'no_movement', 'claim_due', 'witnesses_differ', 'partly_shipped', 'cancelled_by_amazon', 'cancelled_but_shipped') GROUP BY store, code
    ) AS c GROUP BY c.store
) AS n
WHERE r.dag_id = %(dag_id)s AND r.run_id = %(run_id)s AND r.store = n.store
  AND r.store IN (SELECT store FROM fba.run WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s FOR UPDATE SKIP LOCKED)

-- name: set_credential_ages
UPDATE fba.store SET client_secret_expires_at = new.client_secret, refresh_token_expires_at = new.refresh_token
FROM (SELECT store AS free, %(client_secret)s::timestamptz AS client_secret, %(refresh_token)s::timestamptz AS refresh_token
      FROM fba.store WHERE store = %(store)s FOR UPDATE SKIP LOCKED) AS new
WHERE store = new.free
  AND (client_secret_expires_at, refresh_token_expires_at) IS DISTINCT FROM (new.client_secret, new.refresh_token)

-- name: add_credentials
UPDATE fba.run AS r SET attention = r.attention || jsonb_build_object('credential_expires', n.number)
FROM (SELECT store, count(*) AS number FROM fba.needs_attention WHERE code = 'credential_expires' GROUP BY store) AS n
WHERE r.dag_id = %(dag_id)s AND r.run_id = %(run_id)s AND r.store = n.store
  AND r.store IN (SELECT store FROM fba.run WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s FOR UPDATE SKIP LOCKED)

-- name: set_stores
-- A row that somebody holds is left as it is: the next run writes it.
WITH new AS (SELECT * FROM unnest(%(stores)s::text[], %(hours)s::double precision[], %(buffers)s::bigint[], %(days)s::double precision[])
                AS n (store, hours, buffer, days)),
free AS (SELECT store, max_stock_age_hours, buffer_units, low_stock_days, seen_at FROM fba.store FOR UPDATE SKIP LOCKED),
gone AS (DELETE FROM fba.store AS s USING free AS f WHERE f.store = s.store AND s.store <> ALL(%(stores)s)),
changed AS (
    UPDATE fba.store AS s SET max_stock_age_hours = n.hours, buffer_units = n.buffer, low_stock_days = n.days, seen_at = now()
    FROM new AS n JOIN free AS f USING (store)
    WHERE s.store = n.store AND ((f.max_stock_age_hours, f.buffer_units, f.low_stock_days) IS DISTINCT FROM (n.hours, n.buffer, n.days)
                                 OR f.seen_at < now() - interval '1 day')
)
INSERT INTO fba.store (store, max_stock_age_hours, buffer_units, low_stock_days)
SELECT store, hours, buffer, days FROM new ON CONFLICT DO NOTHING

-- name: of_run
-- The rows of a run, each with the attention of the store's previous run if that began on the same day, and with what else
-- needs a person there, whichever run found it.
WITH standing AS MATERIALIZED (
    SELECT store, code, sum(number)::bigint AS number FROM fba.needs_attention
    WHERE code NOT IN ('failed_run', 'low_stock', 'out_of_stock')  -- the sales of four weeks are counted once an hour, not in every run
    GROUP BY store, code
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

-- Retention. An expired_… statement selects the keys of one kind of rows that are due, as t. Its remove_… statement gets them as
-- {due}: a batch of them that nobody else holds, locked. What somebody holds is left to the next run.

-- name: expired_addresses
-- addresses_days after the last shipment, or without one after Amazon or we decided on the request, and in no case later
-- than 90 days after it was created. Not while its feed is being written. Texts that may quote the address go with it; what was
-- written after it was gone stays for addresses_days.
SELECT t.store, t.fr_number
FROM fba.fulfillment_request AS t
LEFT JOIN LATERAL (
    SELECT max(i.ship_date) AS last_shipped FROM fba.shipment_item AS i
    WHERE i.store = t.store AND coalesce(i.fr_number, i.merchant_order_id) = t.fr_number
) AS s ON true
WHERE num_nonnulls(t.ship_to_name, t.ship_to_address_1, t.ship_to_address_2, t.ship_to_address_3, t.ship_to_city, t.ship_to_state,
                   t.ship_to_postal_code, t.ship_to_country, t.ship_to_email, t.ship_to_phone, t.order_comment,
                   nullif(right(t.status_reason, 24), 'removed with the address')) > 0
  AND t.status <> 'sending'
  AND (coalesce(s.last_shipped, t.resolved_at) < clock_timestamp() - make_interval(days => %(addresses_days)s)
       OR t.created_at < clock_timestamp() - interval '90 days'
          AND num_nonnulls(t.ship_to_name, t.ship_to_address_1, t.ship_to_address_2, t.ship_to_address_3, t.ship_to_city,
                           t.ship_to_state, t.ship_to_postal_code, t.ship_to_country, t.ship_to_email, t.ship_to_phone,
                           t.order_comment) > 0)

-- name: remove_addresses
-- An address stays while somebody holds a message that may quote it.
WITH due AS ({due}), messages AS (
    SELECT m.store, m.document_id, m.message_id FROM fba.feed_message AS m JOIN due USING (store, fr_number)
    WHERE m.description IS NOT NULL FOR UPDATE OF m SKIP LOCKED
), held AS (
    SELECT m.store, m.fr_number FROM fba.feed_message AS m JOIN due USING (store, fr_number)
    WHERE m.description IS NOT NULL AND (m.store, m.document_id, m.message_id) NOT IN (SELECT * FROM messages)
), removed AS (
    UPDATE fba.fulfillment_request AS r SET
        ship_to_name = NULL, ship_to_address_1 = NULL, ship_to_address_2 = NULL, ship_to_address_3 = NULL, ship_to_city = NULL,
        ship_to_state = NULL, ship_to_postal_code = NULL, ship_to_country = NULL, ship_to_email = NULL, ship_to_phone = NULL,
        order_comment = NULL,
        status_reason = CASE WHEN starts_with(r.status_reason, 'not cancelled') THEN 'not cancelled: ' ELSE '' END
            || CASE WHEN r.status_reason IS NOT NULL THEN 'removed with the address' END
    FROM due WHERE r.store = due.store AND r.fr_number = due.fr_number AND (r.store, r.fr_number) NOT IN (SELECT * FROM held)
    RETURNING r.store, r.fr_number
), gifts AS (
    UPDATE fba.fulfillment_request_item AS i SET gift_message = NULL
    FROM removed WHERE i.store = removed.store AND i.fr_number = removed.fr_number AND i.gift_message IS NOT NULL
), unquoted AS (
    UPDATE fba.feed_message AS m SET description = NULL
    FROM removed WHERE m.store = removed.store AND m.fr_number = removed.fr_number AND m.description IS NOT NULL
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_documents
SELECT t.store, t.report_id, t.chunk FROM fba.report_document AS t
WHERE t.stored_at < clock_timestamp() - make_interval(days => %(raw_documents_days)s)

-- name: remove_documents
WITH due AS ({due}), removed AS (
    DELETE FROM fba.report_document AS d USING due
    WHERE d.store = due.store AND d.report_id = due.report_id AND d.chunk = due.chunk RETURNING d.store, d.report_id
)
SELECT store, count(DISTINCT report_id) FROM removed GROUP BY store

-- name: expired_rejected_lines
-- They go with the raw copy they came from; their number stays in fba.report.
SELECT t.store, t.report_id, t.line_number FROM fba.rejected_row AS t
WHERE NOT EXISTS (
    SELECT FROM fba.report AS r JOIN fba.report_document AS d ON d.store = r.store AND d.report_id = coalesce(r.document_report_id, r.report_id)
    WHERE r.store = t.store AND r.report_id = t.report_id)

-- name: remove_rejected_lines
WITH due AS ({due}), removed AS (
    DELETE FROM fba.rejected_row AS line USING due
    WHERE line.store = due.store AND line.report_id = due.report_id AND line.line_number = due.line_number RETURNING line.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_processing_reports
SELECT t.store, t.document_id FROM fba.feed AS t
WHERE t.result_document IS NOT NULL
  AND coalesce(t.finished_at, t.submitted_at, t.claimed_at) < statement_timestamp() - make_interval(days => %(raw_documents_days)s)

-- name: remove_processing_reports
WITH due AS ({due}), removed AS (
    UPDATE fba.feed AS f SET result_document = NULL FROM due
    WHERE f.store = due.store AND f.document_id = due.document_id RETURNING f.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_orders_at_amazon
-- Not while a request of that number, or one of which that would be a copy, is still to be sent.
SELECT t.store, t.fr_number FROM fba.order_at_amazon AS t
WHERE t.seen_at < clock_timestamp() - interval '90 days' AND NOT EXISTS (
    SELECT FROM fba.fulfillment_request AS r
    WHERE r.store = t.store AND r.fr_number IN (t.fr_number, regexp_replace(t.fr_number, '-[2-9]$', '')) AND r.status IN ('pending', 'sending')
) AND NOT EXISTS (
    SELECT FROM fba.fulfillment_request AS r
    WHERE r.store = t.store AND r.resend_of IN (t.fr_number, regexp_replace(t.fr_number, '-[2-9]$', '')) AND r.status IN ('pending', 'sending'))

-- name: remove_orders_at_amazon
WITH due AS ({due}), removed AS (
    DELETE FROM fba.order_at_amazon AS o USING due WHERE o.store = due.store AND o.fr_number = due.fr_number RETURNING o.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_foreign_feeds
-- Amazon lists feeds of the last 90 days, so none comes back.
SELECT t.store, t.feed_id FROM fba.foreign_feed AS t
WHERE t.cleared_at < clock_timestamp() - interval '90 days' OR t.seen_at < clock_timestamp() - make_interval(months => %(data_months)s)

-- name: remove_foreign_feeds
WITH due AS ({due}), removed AS (
    DELETE FROM fba.foreign_feed AS f USING due WHERE f.store = due.store AND f.feed_id = due.feed_id RETURNING f.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_order_checks
-- Then a feed need not ask for each number any more: nothing was sent order by order for as long as Amazon's lists reach back.
SELECT t.store FROM fba.feed_check AS t WHERE t.orders_until < statement_timestamp() - interval '90 days'

-- name: remove_order_checks
WITH due AS ({due}), removed AS (
    UPDATE fba.feed_check AS c SET orders_until = NULL FROM due WHERE c.store = due.store RETURNING c.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_features
SELECT t.store, t.feature, t.sku FROM fba.feature AS t WHERE t.asked_at < statement_timestamp() - interval '90 days'

-- name: remove_features
WITH due AS ({due}), removed AS (
    DELETE FROM fba.feature AS f USING due
    WHERE f.store = due.store AND f.feature = due.feature AND f.sku = due.sku RETURNING f.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_requests
-- In this and the next statements statement_timestamp(), not clock_timestamp(): that is volatile, so no index could be used.
-- Closed requests with their items, messages, orders and quotes. Never one of a feed that is not settled: its processing report is
-- compared with all messages. Their numbers stay: a program that puts all its orders in again must not have them sent again.
SELECT t.store, t.fr_number, t.seller_id FROM fba.fulfillment_request AS t
WHERE t.status IN ('accepted', 'cancelled', 'rejected', 'invalid')
  AND coalesce(t.resolved_at, t.created_at) < statement_timestamp() - make_interval(months => %(data_months)s)
  AND NOT EXISTS (
    SELECT FROM fba.feed_message AS m JOIN fba.feed AS f USING (store, document_id)
    WHERE m.store = t.store AND m.fr_number = t.fr_number AND f.settled_at IS NULL)
  AND NOT EXISTS (
    SELECT FROM fba.outbound_order AS o WHERE o.store = t.store AND o.fr_number = t.fr_number AND o.settled_at IS NULL)
ORDER BY coalesce(t.resolved_at, t.created_at)

-- name: remove_requests
WITH due AS ({due}), numbers AS (
    INSERT INTO fba.removed_request (fr_number, store, seller_id) SELECT fr_number, store, seller_id FROM due ON CONFLICT DO NOTHING
), messages AS (
    DELETE FROM fba.feed_message AS m USING due WHERE m.store = due.store AND m.fr_number = due.fr_number
), orders AS (
    DELETE FROM fba.outbound_order AS o USING due WHERE o.store = due.store AND o.fr_number = due.fr_number
), items AS (
    DELETE FROM fba.fulfillment_request_item AS i USING due WHERE i.store = due.store AND i.fr_number = due.fr_number
), removed AS (
    DELETE FROM fba.fulfillment_request AS r USING due WHERE r.store = due.store AND r.fr_number = due.fr_number RETURNING r.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_feeds
-- With their messages, and not while a request of theirs is under way.
SELECT t.store, t.document_id FROM fba.feed AS t
WHERE t.settled_at < statement_timestamp() - make_interval(months => %(data_months)s) AND NOT EXISTS (
    SELECT FROM fba.feed_message AS m JOIN fba.fulfillment_request AS r USING (store, fr_number)
    WHERE m.store = t.store AND m.document_id = t.document_id AND r.status IN ('sending', 'submitted', 'unknown'))
ORDER BY t.settled_at

-- name: remove_feeds
WITH due AS ({due}), messages AS (
    DELETE FROM fba.feed_message AS m USING due WHERE m.store = due.store AND m.document_id = due.document_id
), removed AS (
    DELETE FROM fba.feed AS f USING due WHERE f.store = due.store AND f.document_id = due.document_id RETURNING f.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_shipments
-- Not of a request that is still there: it would look as if nothing of it had been shipped.
SELECT t.store, t.item_key FROM fba.amazon_fulfilled_shipments_report AS t
WHERE t.shipment_date < statement_timestamp() - make_interval(months => %(data_months)s) AND NOT EXISTS (
    SELECT FROM fba.shipment_item AS i
    JOIN fba.fulfillment_request AS r ON r.store = i.store AND r.fr_number = coalesce(i.fr_number, i.merchant_order_id)
    WHERE i.store = t.store AND i.item_key = t.item_key)
ORDER BY t.shipment_date

-- name: remove_shipments
WITH due AS ({due}), items AS (
    DELETE FROM fba.shipment_item AS i USING due WHERE i.store = due.store AND i.item_key = due.item_key
), removed AS (
    DELETE FROM fba.amazon_fulfilled_shipments_report AS p USING due
    WHERE p.store = due.store AND p.item_key = due.item_key RETURNING p.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_reports
-- With what is still stored of them. The last one of each type that was applied stays: the age of the stock is its age.
SELECT t.request_id, t.store, t.report_id FROM fba.report AS t
WHERE t.requested_at < statement_timestamp() - make_interval(months => %(data_months)s)
  AND t.status NOT IN ('IN_QUEUE', 'IN_PROGRESS')
  AND (t.applied_at IS NULL OR EXISTS (
    SELECT FROM fba.report AS later WHERE later.store = t.store AND later.report_type = t.report_type
      AND later.requested_at > t.requested_at AND later.applied_at IS NOT NULL))
ORDER BY t.requested_at

-- name: remove_reports
WITH due AS ({due}), documents AS (
    DELETE FROM fba.report_document AS d USING due
    WHERE d.store = due.store AND d.report_id = due.report_id AND NOT EXISTS (  -- an equal one that is younger has no copy of its own
        SELECT FROM fba.report AS r WHERE r.store = d.store AND r.document_report_id = d.report_id
          AND r.request_id <> ALL (SELECT request_id FROM due))
), lines AS (
    DELETE FROM fba.rejected_row AS l USING due WHERE l.store = due.store AND l.report_id = due.report_id
), removed AS (
    DELETE FROM fba.report AS r USING due WHERE r.request_id = due.request_id RETURNING r.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_runs
SELECT t.dag_id, t.run_id, t.store FROM fba.run AS t
WHERE t.started_at < statement_timestamp() - make_interval(months => %(data_months)s)
ORDER BY t.started_at

-- name: remove_runs
WITH due AS ({due}), removed AS (
    DELETE FROM fba.run AS r USING due
    WHERE r.dag_id = due.dag_id AND r.run_id = due.run_id AND r.store = due.store RETURNING r.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_stock_changes
SELECT t.store, t.sku, t.at FROM fba.stock_change AS t
WHERE t.at < statement_timestamp() - make_interval(months => %(data_months)s) ORDER BY t.at

-- name: remove_stock_changes
-- From then on the history begins after the last change that was removed; while somebody holds its begin, none is.
WITH due AS ({due}), history AS (
    SELECT only_one FROM fba.stock_history FOR UPDATE SKIP LOCKED
), begins AS (
    UPDATE fba.stock_history AS h SET begins_at = greatest(h.begins_at, (SELECT max(at) FROM due))
    FROM history WHERE h.only_one = history.only_one AND EXISTS (SELECT FROM due)
), removed AS (
    DELETE FROM fba.stock_change AS c USING due, history
    WHERE c.store = due.store AND c.sku = due.sku AND c.at = due.at RETURNING c.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_stock_totals
-- Where a store has several; what they say together is written into one.
SELECT t.n, t.store FROM fba.stock_total_change AS t
WHERE t.at < statement_timestamp() - make_interval(months => %(data_months)s) AND EXISTS (
    SELECT FROM fba.stock_total_change AS other WHERE other.store = t.store AND other.n <> t.n
      AND other.at < statement_timestamp() - make_interval(months => %(data_months)s))
ORDER BY t.at

-- name: remove_stock_totals
WITH due AS ({due}), removed AS (
    DELETE FROM fba.stock_total_change AS t USING due WHERE t.n = due.n RETURNING t.store, t.at, t.units, t.skus_in_stock
), kept AS (
    INSERT INTO fba.stock_total_change (store, at, units, skus_in_stock)
    SELECT store, max(at), sum(units), sum(skus_in_stock) FROM removed GROUP BY store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_breakdowns
-- Of SKUs that Amazon has not named for so long.
SELECT t.store, t.sku FROM fba.stock_breakdown AS t
WHERE t.as_of < statement_timestamp() - make_interval(months => %(data_months)s) ORDER BY t.as_of

-- name: remove_breakdowns
WITH due AS ({due}), removed AS (
    DELETE FROM fba.stock_breakdown AS b USING due WHERE b.store = due.store AND b.sku = due.sku RETURNING b.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: expired_available_changes
-- Those that a newer one of the SKU has followed, when every destination has taken them, or after data_months.
SELECT t.store, t.n FROM fba.available_change AS t
WHERE NOT t.newest AND (
    t.at < statement_timestamp() - make_interval(months => %(data_months)s)
    OR NOT EXISTS (SELECT FROM fba.publication AS p WHERE p.store = t.store AND p.delivered < t.n))
ORDER BY t.n

-- name: remove_available_changes
WITH due AS ({due}), removed AS (
    DELETE FROM fba.available_change AS c USING due WHERE c.store = due.store AND c.n = due.n RETURNING c.store
)
SELECT store, count(*) FROM removed GROUP BY store

-- name: free
{expired} LIMIT {most} FOR UPDATE OF t SKIP LOCKED

-- name: count_expired
SELECT count(*) FROM ({expired}) AS expired
