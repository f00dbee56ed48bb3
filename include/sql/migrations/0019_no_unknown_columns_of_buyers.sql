-- Until now a column that the shipments report was not known to have was kept in the clear, and so was a buyer's that Amazon had renamed.
-- What stays is what extra is for: times that cannot be read.
UPDATE fba.amazon_fulfilled_shipments_report SET extra = (
    SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(extra) AS e
    WHERE e.key IN ('purchase-date', 'payments-date', 'shipment-date', 'reporting-date', 'estimated-arrival-date')
)
WHERE extra IS NOT NULL
  AND extra - ARRAY['purchase-date', 'payments-date', 'shipment-date', 'reporting-date', 'estimated-arrival-date'] <> '{}';
COMMENT ON COLUMN fba.amazon_fulfilled_shipments_report.extra IS
    'Times that cannot be read, as Amazon sent them. Columns that are not known are not kept: they may be a buyer''s.';
