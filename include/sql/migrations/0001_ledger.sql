-- What every job needs: the ledger of reports, their raw copies, rows that could not be read, runs, tokens and rates.
CREATE TABLE fba.report (
    request_id uuid PRIMARY KEY,
    store text NOT NULL,
    report_id text,
    report_type text NOT NULL,
    marketplace_id text NOT NULL,
    data_start timestamptz,
    data_end timestamptz,
    options jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'REQUESTING'
        CHECK (status IN ('REQUESTING', 'IN_QUEUE', 'IN_PROGRESS', 'DONE', 'CANCELLED', 'FATAL')),
    document_id text,
    requested_at timestamptz NOT NULL,
    finished_at timestamptz,
    applied_at timestamptz,
    row_count bigint,
    rejected_row_count bigint,
    UNIQUE (store, report_id)
);
CREATE INDEX report_by_window ON fba.report (store, report_type, requested_at DESC);
COMMENT ON TABLE fba.report IS 'Every report asked for. A row is written before Amazon is called; report_id is filled with the answer.';
COMMENT ON COLUMN fba.report.requested_at IS 'When it was asked for: Amazon''s createdTime once known, our intent before.';

CREATE TABLE fba.report_document (
    store text NOT NULL,
    report_id text NOT NULL,
    chunk integer NOT NULL,
    content bytea NOT NULL,
    charset text,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (store, report_id, chunk)
);
-- Ciphertext does not compress: do not let Postgres try.
ALTER TABLE fba.report_document ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON TABLE fba.report_document IS 'Raw copy of a report: one gzip stream cut into chunks, each encrypted with Airflow''s Fernet key.';
COMMENT ON COLUMN fba.report_document.charset IS 'charset of the download''s Content-Type; null when Amazon named none.';

CREATE TABLE fba.rejected_row (
    store text NOT NULL,
    report_id text NOT NULL,
    line_number bigint NOT NULL,
    reason text NOT NULL,
    sku text,
    raw_line bytea,
    PRIMARY KEY (store, report_id, line_number)
);
COMMENT ON TABLE fba.rejected_row IS 'Lines of a report that could not be read, kept and counted. raw_line is encrypted.';

CREATE TABLE fba.run (
    dag_id text NOT NULL,
    run_id text NOT NULL,
    store text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    rows_in bigint NOT NULL DEFAULT 0,
    rows_rejected bigint NOT NULL DEFAULT 0,
    rows_changed bigint NOT NULL DEFAULT 0,
    calls jsonb NOT NULL DEFAULT '{}',
    throttled_seconds double precision NOT NULL DEFAULT 0,
    outcome text CHECK (outcome IN ('success', 'skipped', 'failed')),
    summary text,
    PRIMARY KEY (dag_id, run_id, store)
);
COMMENT ON COLUMN fba.run.calls IS 'Calls made to Amazon in this run, by operation.';

CREATE TABLE fba.lwa_token (
    credential text PRIMARY KEY,
    token bytea,
    expires_at timestamptz,
    refreshed_at timestamptz
);
COMMENT ON TABLE fba.lwa_token IS 'Access tokens, encrypted; credential is a hash of token URL, client id and refresh token.';

CREATE TABLE fba.rate_limit (
    bucket text PRIMARY KEY,
    tokens double precision NOT NULL,
    rate double precision NOT NULL,
    burst double precision NOT NULL,
    refilled_at timestamptz NOT NULL
);
COMMENT ON TABLE fba.rate_limit IS 'Token buckets of Amazon''s scarce operations, shared by all tasks; rate is per second.';
