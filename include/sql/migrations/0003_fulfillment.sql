-- fba_send_fulfillment_requests: orders a merchant wants Amazon to fulfil, and the feeds that carry them.
CREATE TABLE fba.fulfillment_request (
    store text NOT NULL,
    fr_number text NOT NULL,
    seller_id text,
    shipping_method text,
    ship_to_name text,
    ship_to_address_1 text,
    ship_to_address_2 text,
    ship_to_city text,
    ship_to_state text,
    ship_to_postal_code text,
    ship_to_country text,
    ship_to_email text,
    ship_to_phone text,
    order_comment text,
    created_at timestamptz NOT NULL DEFAULT now(),
    status text NOT NULL DEFAULT 'pending' CHECK (status IN
        ('pending', 'invalid', 'sending', 'submitted', 'unknown', 'accepted', 'rejected', 'cancelled')),
    status_reason text,
    waiting_reason text,
    amazon_order_status text,
    cancel_requested_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    absent_since timestamptz,
    sent_at timestamptz,
    resolved_at timestamptz,
    PRIMARY KEY (store, fr_number),
    UNIQUE (seller_id, fr_number)
);
CREATE INDEX fulfillment_request_by_status ON fba.fulfillment_request (store, status, created_at);
CREATE INDEX fulfillment_request_to_cancel ON fba.fulfillment_request (store) WHERE cancel_requested_at IS NOT NULL;
COMMENT ON COLUMN fba.fulfillment_request.seller_id IS 'Filled when the request is claimed: Amazon wants fr_number unique per seller.';
COMMENT ON COLUMN fba.fulfillment_request.waiting_reason IS 'Why a pending request has not been sent yet, and until when.';
COMMENT ON COLUMN fba.fulfillment_request.attempts IS 'How often it was sent and Amazon turned out to have no order of it.';
COMMENT ON COLUMN fba.fulfillment_request.absent_since IS 'When a complete list of Amazon''s orders first lacked this unknown request.';
COMMENT ON COLUMN fba.fulfillment_request.sent_at IS 'When the feed with it was handed to Amazon.';
COMMENT ON COLUMN fba.fulfillment_request.resolved_at IS 'When it became invalid, accepted, rejected or cancelled.';

CREATE TABLE fba.fulfillment_request_item (
    store text NOT NULL,
    fr_number text NOT NULL,
    line integer NOT NULL,
    sku text NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    unit_price numeric,
    title text,
    upc text,
    PRIMARY KEY (store, fr_number, line),
    FOREIGN KEY (store, fr_number) REFERENCES fba.fulfillment_request
);

CREATE TABLE fba.feed (
    store text NOT NULL,
    document_id text NOT NULL,
    claim_id uuid NOT NULL UNIQUE,
    run_id text NOT NULL,
    feed_id text,
    status text NOT NULL DEFAULT 'CLAIMED' CHECK (status IN
        ('CLAIMED', 'RELEASED', 'REFUSED', 'SUBMITTING', 'LOST', 'IN_QUEUE', 'IN_PROGRESS', 'DONE', 'CANCELLED', 'FATAL')),
    message_count integer NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    uploaded_at timestamptz,
    submit_started_at timestamptz CHECK (submit_started_at IS NULL OR uploaded_at IS NOT NULL),
    submitted_at timestamptz,
    finished_at timestamptz,
    result_document_id text,
    judged_at timestamptz,
    settled_at timestamptz,
    result_document bytea,
    PRIMARY KEY (store, document_id),
    UNIQUE (store, feed_id),
    CHECK (feed_id IS NULL OR submit_started_at IS NOT NULL)
);
CREATE UNIQUE INDEX one_open_feed_per_store ON fba.feed (store) WHERE settled_at IS NULL;
COMMENT ON TABLE fba.feed IS 'Every feed of orders. submit_started_at is written before Amazon is called; feed_id is filled with the answer.';
COMMENT ON COLUMN fba.feed.document_id IS 'Amazon''s feedDocumentId once uploaded; before that a name of our own that begins with "claim-".';
COMMENT ON COLUMN fba.feed.run_id IS 'The Airflow run that claimed its requests.';
COMMENT ON COLUMN fba.feed.status IS 'Amazon''s once it has a feed_id. RELEASED: never submitted. REFUSED: createFeed answered 4xx. LOST: it gave no clear answer.';
COMMENT ON COLUMN fba.feed.judged_at IS 'When the processing report was applied, as far as it could be.';
COMMENT ON COLUMN fba.feed.settled_at IS 'When nothing was left to do for it; a store has at most one feed without this.';
COMMENT ON COLUMN fba.feed.result_document IS 'The processing report, encrypted with Airflow''s Fernet key.';

CREATE TABLE fba.feed_message (
    store text NOT NULL,
    document_id text NOT NULL,
    message_id integer NOT NULL,
    fr_number text NOT NULL,
    result_code text,
    message_code text,
    description text,
    PRIMARY KEY (store, document_id, message_id),
    UNIQUE (store, document_id, fr_number),
    FOREIGN KEY (store, document_id) REFERENCES fba.feed ON UPDATE CASCADE,
    FOREIGN KEY (store, fr_number) REFERENCES fba.fulfillment_request
);
CREATE INDEX feed_message_by_request ON fba.feed_message (store, fr_number);
COMMENT ON TABLE fba.feed_message IS 'Which request each MessageID of a feed stands for: Amazon''s report names only the MessageID.';

-- What was sent must stay what it was: nobody edits a request while Amazon has it.
CREATE FUNCTION fba.frozen(status text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT status IN ('sending', 'submitted', 'unknown', 'accepted', 'cancelled')
$$;

CREATE FUNCTION fba.guard_request() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    next_of CONSTANT jsonb := '{
        "pending": ["invalid", "sending"],
        "sending": ["submitted", "unknown", "pending"],
        "submitted": ["accepted", "rejected", "unknown", "pending"],
        "unknown": ["accepted", "rejected", "cancelled", "pending", "invalid"],
        "accepted": ["rejected", "cancelled"],
        "invalid": ["pending"],
        "rejected": ["pending"],
        "cancelled": []}';
    personal CONSTANT text[] := ARRAY['ship_to_name', 'ship_to_address_1', 'ship_to_address_2', 'ship_to_city', 'ship_to_state',
        'ship_to_postal_code', 'ship_to_country', 'ship_to_email', 'ship_to_phone'];
    changed text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF fba.frozen(OLD.status) THEN
            RAISE EXCEPTION 'Request % of % is % and cannot be deleted: Amazon has it or may have it.',
                OLD.fr_number, OLD.store, OLD.status;
        END IF;
        RETURN OLD;
    END IF;

    IF fba.frozen(OLD.status) THEN
        -- Retention may empty an address, but not while the feed with it is still to be written.
        SELECT string_agg(o.key, ', ' ORDER BY o.key) INTO changed
        FROM jsonb_each(to_jsonb(OLD)) AS o
        JOIN jsonb_each(to_jsonb(NEW)) AS n ON n.key = o.key AND n.value <> o.value
        WHERE o.key IN ('store', 'fr_number', 'shipping_method', 'order_comment', 'created_at')
           OR o.key = ANY (personal) AND (n.value <> 'null' OR OLD.status = 'sending');
        IF changed IS NOT NULL THEN
            RAISE EXCEPTION 'Request % of % is %: its content is frozen (%). To stop it, set cancel_requested_at.',
                OLD.fr_number, OLD.store, OLD.status, changed;
        END IF;
    END IF;

    IF NEW.status <> OLD.status THEN
        IF NOT (next_of -> OLD.status) ? NEW.status THEN
            RAISE EXCEPTION 'Request % of % cannot go from % to %; from % it can go to: %.', OLD.fr_number, OLD.store,
                OLD.status, NEW.status, OLD.status, coalesce(nullif(translate((next_of -> OLD.status)::text, '[]"', ''), ''), 'nothing');
        END IF;
        NEW.resolved_at := CASE WHEN NEW.status IN ('invalid', 'accepted', 'rejected', 'cancelled') THEN clock_timestamp() END;
        IF NEW.status <> 'unknown' THEN
            NEW.absent_since := NULL;
        END IF;
        IF NEW.status <> 'pending' THEN
            NEW.waiting_reason := NULL;
        ELSE
            NEW.sent_at := NULL;
            IF OLD.status IN ('invalid', 'rejected') THEN  -- put right by hand: it begins anew
                NEW.status_reason := NULL;
                NEW.attempts := 0;
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON fba.fulfillment_request
    FOR EACH ROW EXECUTE FUNCTION fba.guard_request();

CREATE FUNCTION fba.guard_item() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner record;
BEGIN
    -- FOR SHARE: whoever claims the request waits for this item or skips the request, and this item waits for who claims.
    FOR owner IN
        SELECT store, fr_number, status FROM fba.fulfillment_request
        WHERE TG_OP <> 'INSERT' AND (store, fr_number) = (OLD.store, OLD.fr_number)
           OR TG_OP <> 'DELETE' AND (store, fr_number) = (NEW.store, NEW.fr_number)
        FOR SHARE
    LOOP
        IF fba.frozen(owner.status) THEN
            RAISE EXCEPTION 'Request % of % is %: its items are frozen. To stop it, set cancel_requested_at.',
                owner.fr_number, owner.store, owner.status;
        END IF;
    END LOOP;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON fba.fulfillment_request_item
    FOR EACH ROW EXECUTE FUNCTION fba.guard_item();
