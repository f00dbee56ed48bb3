-- Who asks Login with Amazon for a token says so in the row instead of holding it: others wait a bounded time.
ALTER TABLE fba.lwa_token ADD COLUMN fetching_until timestamptz
    CONSTRAINT fetching_until_is_possible CHECK (fetching_until BETWEEN '2000-01-01' AND '2100-01-01');
COMMENT ON COLUMN fba.lwa_token.fetching_until IS 'Until when one task fetches a new token; the others wait for it no longer than that.';

-- When Airflow ends the run at the latest: a run that it ended has no task left that could say so.
ALTER TABLE fba.run ADD COLUMN ends_by timestamptz CONSTRAINT ends_by_is_possible CHECK (ends_by BETWEEN '2000-01-01' AND '2100-01-01');
COMMENT ON COLUMN fba.run.ends_by IS 'When Airflow ends the run at the latest (dagrun_timeout); null: it has no limit.';
CREATE INDEX run_without_end ON fba.run (ends_by) WHERE outcome IS NULL;
