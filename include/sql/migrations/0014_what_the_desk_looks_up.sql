-- The desk, a page in Airflow, reads one screen of many rows: it needs an index for each order in which it shows them.
CREATE FUNCTION fba.shortened(whole text, most integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(whole) <= most OR length(left(whole, most + 1)) <= most THEN whole ELSE left(whole, most - 1) || '…' END
$$;
COMMENT ON FUNCTION fba.shortened IS 'A text of at most so many characters; what was cut ends with an ellipsis.';

-- The words of a SKU, its ASIN and its title, as far as people search for them. A longer text is no better known by its end, and
-- PostgreSQL refuses words of a text that is too long.
CREATE FUNCTION fba.words_of(sku text, asin text, title text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsvector('pg_catalog.simple'::regconfig,
        regexp_replace(left(sku, 100) || ' ' || coalesce(left(asin, 20), '') || ' ' || coalesce(left(title, 300), ''), '[^[:alnum:]]+', ' ', 'g'))
$$;
COMMENT ON FUNCTION fba.words_of IS 'The words by which a SKU is found.';

CREATE INDEX pool_by_quantity ON fba.global_inventory_pool (store, quantity, sku);
CREATE INDEX pool_by_letters ON fba.global_inventory_pool (store, upper(sku) text_pattern_ops);
CREATE INDEX pool_by_words ON fba.global_inventory_pool USING gin (fba.words_of(sku, asin, title));
-- By hash: a field of a damaged line may be longer than an ordered index takes.
CREATE INDEX listings_by_sku ON fba.amazon_all_listings_report USING hash (seller_sku);
CREATE INDEX afn_by_sku ON fba.amazon_afn_inventory_report USING hash (seller_sku);
-- All changes of one statement have one time, so the SKU belongs to their order.
CREATE INDEX stock_change_by_time ON fba.stock_change (at, store, sku);
DROP INDEX fba.stock_change_by_age;
CREATE INDEX fulfillment_request_by_day ON fba.fulfillment_request (created_at, store, fr_number);

-- A text of Amazon's about one order may name the buyer. Who reads these texts through fba.request_words and fba.feed_message_words
-- does not read the buyer with them. State and country stay: they are words of many sentences and name nobody.
CREATE FUNCTION fba.without_person(words text, name text, VARIADIC others text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    value text;
BEGIN
    FOREACH value IN ARRAY others || name || regexp_split_to_array(coalesce(name, ''), '\s+') LOOP
        IF length(btrim(value)) >= 3 THEN
            value := regexp_replace(regexp_replace(btrim(value), '([^[:alnum:][:space:]])', '\\\1', 'g'), '\s+', '\\s+', 'g');
            words := regexp_replace(words, value, '(removed)', 'gi');
        END IF;
    END LOOP;
    RETURN words;
END $$;
COMMENT ON FUNCTION fba.without_person IS 'A text without these names, addresses and numbers, in whatever letters it has them.';
