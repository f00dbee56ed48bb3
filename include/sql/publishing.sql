-- name: forget_destinations
DELETE FROM fba.publication WHERE destination <> ALL(%(destinations)s)

-- name: record_changes
-- n is at least the time in microseconds, so that it also grows where a restored backup has forgotten the last ones.
WITH last AS (
    SELECT greatest(coalesce(max(n), 0), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS n
    FROM fba.available_change WHERE store = %(store)s
), changed AS MATERIALIZED (
    SELECT sku, a.quantity, a.promised, a.buffer, coalesce(a.available, 0) AS available,
           coalesce(a.shares_fnsku_with, '{}') AS shares_fnsku_with, row_number() OVER (ORDER BY sku) AS number
    FROM (SELECT * FROM fba.available_to_sell WHERE store = %(store)s) AS a
    FULL JOIN (SELECT * FROM fba.available_change WHERE store = %(store)s AND newest) AS c USING (sku)
    WHERE %(everything)s
       OR (a.quantity, a.promised, a.buffer, coalesce(a.available, 0), coalesce(a.shares_fnsku_with, '{}'))
          IS DISTINCT FROM (c.quantity, c.promised, c.buffer, c.available, c.shares_fnsku_with)
), superseded AS (
    UPDATE fba.available_change AS c SET newest = false
    FROM changed WHERE c.store = %(store)s AND c.newest AND c.sku = changed.sku
)
INSERT INTO fba.available_change (store, n, sku, quantity, promised, buffer, available, shares_fnsku_with)
SELECT %(store)s, last.n + number, sku, quantity, promised, buffer, available, shares_fnsku_with FROM changed, last

-- name: begin
INSERT INTO fba.publication (destination, store) VALUES (%(destination)s, %(store)s) ON CONFLICT DO NOTHING

-- name: next_changes
SELECT c.n, c.store, c.sku, c.at, c.quantity, c.promised, c.buffer, c.available, c.shares_fnsku_with
FROM fba.available_change AS c JOIN fba.publication AS p ON p.store = c.store AND p.destination = %(destination)s
WHERE c.store = %(store)s AND c.n > p.delivered ORDER BY c.n LIMIT %(most)s

-- name: count_left
SELECT count(*) FROM fba.available_change AS c JOIN fba.publication AS p ON p.store = c.store AND p.destination = %(destination)s
WHERE c.store = %(store)s AND c.n > p.delivered

-- name: record_delivered
UPDATE fba.publication SET delivered = greatest(delivered, %(n)s), delivered_at = clock_timestamp()
WHERE destination = %(destination)s AND store = %(store)s
