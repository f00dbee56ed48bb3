-- What a run needs a person for, and why it failed: counts and our own words, fit for a chat room.
ALTER TABLE fba.run
    ADD COLUMN attention jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN failure text;
CREATE INDEX run_by_store ON fba.run (dag_id, store, started_at DESC);
COMMENT ON COLUMN fba.run.attention IS 'What needs a person: code and count, e.g. {"rejected_lines": 3}.';
COMMENT ON COLUMN fba.run.failure IS 'Task and reason of a failure in our own words; summary may also quote Amazon and name SKUs.';

CREATE FUNCTION fba.add_counts(jsonb, jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(name, n), '{}') FROM (
        SELECT name, sum(n::bigint) AS n
        FROM (SELECT * FROM jsonb_each_text($1) UNION ALL SELECT * FROM jsonb_each_text($2)) AS both_ (name, n)
        GROUP BY name
    ) AS sums
$$;
COMMENT ON FUNCTION fba.add_counts IS 'The sums of two objects of counts.';
