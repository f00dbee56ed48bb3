-- Operators also work in DAGs of others, which may have no PrepareRunOperator and no SummariseRunOperator.
ALTER TABLE fba.run ADD COLUMN prepared boolean NOT NULL DEFAULT false;
UPDATE fba.run SET prepared = true;
COMMENT ON COLUMN fba.run.prepared IS 'A PrepareRunOperator began this run, so a SummariseRunOperator says how it ended.';
