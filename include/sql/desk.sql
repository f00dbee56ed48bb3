-- name: begin
-- Nothing can be written, and nothing takes long: a page is asked for again, a task is not.
SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %(patience)s, true),
       set_config('lock_timeout', %(patience)s, true), set_config('idle_in_transaction_session_timeout', '1min', true)

-- name: needs_attention
SELECT store, code, subject, number, since, remedy FROM fba.needs_attention ORDER BY since LIMIT 200
