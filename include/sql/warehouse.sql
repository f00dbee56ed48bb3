-- name: begin
-- For this transaction alone, since behind a pooler the next one may be somebody else's: whose it is, that its commit survives a
-- crash, and how long it may wait, work and do nothing.
SELECT set_config('fba.writer', 'product', true), set_config('synchronous_commit', 'on', true),
       set_config('lock_timeout', '30s', true), set_config('statement_timeout', '1h', true),
       set_config('idle_in_transaction_session_timeout', '10min', true)

-- name: limit_lock
-- Who holds a lock and does nothing for ten minutes loses it with the session.
SELECT set_config('lock_timeout', %(patience)s, true), set_config('idle_in_transaction_session_timeout', '10min', true)

-- name: take_lock
SELECT pg_advisory_xact_lock(hashtext(%(room)s), hashtext(%(store)s))

-- name: who_blocks
-- Sessions that hold something open and do nothing, the oldest first.
SELECT pid, coalesce(usename, '?') AS usename, coalesce(nullif(application_name, ''), 'no name') AS application,
       round(extract(epoch FROM clock_timestamp() - xact_start))::bigint AS seconds
FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%%' AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '20 seconds'
ORDER BY xact_start LIMIT 1

-- name: register_credential
INSERT INTO fba.lwa_token (credential) VALUES (%(credential)s) ON CONFLICT DO NOTHING

-- name: token
SELECT token, expires_at, expires_at > clock_timestamp() AS valid FROM fba.lwa_token WHERE credential = %(credential)s

-- name: lease_token
-- For one task, unless the token is another than the one it has seen. A lease that ends later than one can is none.
UPDATE fba.lwa_token SET fetching_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE credential IN (
    SELECT credential FROM fba.lwa_token
    WHERE credential = %(credential)s AND token IS NOT DISTINCT FROM %(seen)s
      AND coalesce(NOT fetching_until BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => %(seconds)s), true)
    FOR UPDATE SKIP LOCKED)
RETURNING fetching_until

-- name: end_lease
UPDATE fba.lwa_token SET fetching_until = NULL WHERE credential = %(credential)s AND fetching_until = %(lease)s

-- name: store_token
UPDATE fba.lwa_token SET token = %(token)s, expires_at = %(expires_at)s, refreshed_at = clock_timestamp(), fetching_until = NULL
WHERE credential = %(credential)s

-- name: take_call
INSERT INTO fba.rate_limit AS b (bucket, tokens, rate, burst, refilled_at)
VALUES (%(bucket)s, %(burst)s - 1, %(rate)s, %(burst)s, clock_timestamp())
ON CONFLICT (bucket) DO UPDATE SET
    tokens = least(b.burst, b.tokens + extract(epoch FROM clock_timestamp() - b.refilled_at) * b.rate) - 1,
    refilled_at = clock_timestamp()
WHERE least(b.burst, b.tokens + extract(epoch FROM clock_timestamp() - b.refilled_at) * b.rate) >= 1
RETURNING b.tokens

-- name: seconds_until_next_call
SELECT greatest((1 - tokens) / rate - extract(epoch FROM clock_timestamp() - refilled_at), 0) AS seconds
FROM fba.rate_limit WHERE bucket = %(bucket)s

-- name: correct_bucket
UPDATE fba.rate_limit SET
    tokens = CASE WHEN %(empty)s THEN 0
             ELSE least(burst, tokens + extract(epoch FROM clock_timestamp() - refilled_at) * rate) END,
    refilled_at = clock_timestamp(),
    rate = coalesce(%(rate)s::double precision, rate)
WHERE bucket = %(bucket)s

-- name: correct_impossible_bucket
-- A rate far from the documented one, or a time that is still to come, would stop every call.
UPDATE fba.rate_limit SET
    rate = greatest(least(rate, %(rate)s::double precision * 100), %(rate)s::double precision / 100),
    tokens = greatest(tokens, 0),
    refilled_at = least(refilled_at, clock_timestamp())
WHERE bucket = %(bucket)s
