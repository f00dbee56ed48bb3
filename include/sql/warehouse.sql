-- name: register_credential
INSERT INTO fba.lwa_token (credential) VALUES (%(credential)s) ON CONFLICT DO NOTHING

-- name: lock_token
SELECT token, expires_at, expires_at > clock_timestamp() AS valid FROM fba.lwa_token WHERE credential = %(credential)s FOR UPDATE

-- name: store_token
UPDATE fba.lwa_token SET token = %(token)s, expires_at = %(expires_at)s, refreshed_at = clock_timestamp()
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
