-- An order that has ended makes no second parcel, and a person can say that an order is another program's.
ALTER TABLE fba.order_at_amazon
    ADD COLUMN ended boolean NOT NULL DEFAULT false,
    ADD COLUMN told_at timestamptz CONSTRAINT told_at_is_possible CHECK (told_at BETWEEN '2000-01-01' AND '2100-01-01'),
    ADD COLUMN cleared_at timestamptz CONSTRAINT cleared_at_is_possible CHECK (cleared_at BETWEEN '2000-01-01' AND '2100-01-01');
COMMENT ON COLUMN fba.order_at_amazon.ended IS 'Whether Amazon ships nothing of it: cancelled, invalid or unfulfillable.';
COMMENT ON COLUMN fba.order_at_amazon.told_at IS 'When the refused request of this number was told that its order goes on.';
COMMENT ON COLUMN fba.order_at_amazon.cleared_at IS
    'Set by a person: it is another program''s order, so a request of which it may be a copy need not wait.';

-- As before, but a copy that is invalid (as one is that was cancelled before it was sent) does not keep the first request from becoming
-- pending: the runs send one of the two.
CREATE OR REPLACE FUNCTION fba.guard_request() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next_of CONSTANT jsonb := '{
        "pending": ["invalid", "sending"],
        "sending": ["submitted", "unknown", "pending", "accepted", "rejected"],
        "submitted": ["accepted", "rejected", "unknown", "pending", "cancelled"],
        "unknown": ["accepted", "rejected", "cancelled", "pending", "invalid", "submitted"],
        "accepted": ["rejected", "cancelled"],
        "invalid": ["pending"],
        "rejected": ["pending"],
        "cancelled": []}';
    by_hand CONSTANT jsonb := '{
        "sending": ["pending"],
        "submitted": ["accepted", "rejected", "pending"],
        "unknown": ["accepted", "rejected", "pending"],
        "invalid": ["pending"],
        "rejected": ["pending"]}';
    personal CONSTANT text[] := ARRAY['ship_to_name', 'ship_to_address_1', 'ship_to_address_2', 'ship_to_address_3', 'ship_to_city',
        'ship_to_state', 'ship_to_postal_code', 'ship_to_country', 'ship_to_email', 'ship_to_phone'];
    content CONSTANT text[] := ARRAY['store', 'fr_number', 'shipping_method', 'displayable_order_number', 'created_at', 'channel',
        'packaging', 'block_amazon_logistics', 'signature', 'deliver_together', 'deliver_by'];
    ours CONSTANT text[] := ARRAY['inserted_at', 'looked_up_at'];
    ours_in_flight CONSTANT text[] := ARRAY['seller_id', 'claim_id', 'stuck_since', 'unknown_since', 'transport', 'speed'];
    is_product CONSTANT boolean := fba.is_product();
    changed text;
    allowed jsonb;
    twin text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF fba.frozen(OLD.status) AND NOT fba.may_be_removed(OLD.status, OLD.resolved_at, OLD.created_at) THEN
            RAISE EXCEPTION 'Request % of % is % and cannot be deleted: Amazon has it or may have it. To stop it, set cancel_requested_at.',
                OLD.fr_number, OLD.store, OLD.status;
        END IF;
        RETURN OLD;
    END IF;

    IF NEW.status <> OLD.status THEN
        allowed := coalesce(CASE WHEN is_product THEN next_of -> OLD.status ELSE by_hand -> OLD.status END, '[]');
        IF NOT is_product AND OLD.status IN ('sending', 'submitted', 'unknown') AND NOT fba.is_stuck(OLD.store, OLD.fr_number) THEN
            RAISE EXCEPTION 'Request % of %: the column status cannot be set from % to % by hand%: %. A program that writes whole rows back must leave status out. To stop the request, set cancel_requested_at.',
                OLD.fr_number, OLD.store, OLD.status, NEW.status, CASE OLD.status WHEN 'unknown' THEN ' yet' ELSE '' END,
                CASE OLD.status WHEN 'unknown' THEN 'the runs of fba_send_fulfillment_requests still look for its order at Amazon'
                    ELSE 'it is on its way to Amazon' END;
        ELSIF NOT allowed ? NEW.status THEN
            RAISE EXCEPTION 'Request % of %: the column status cannot go from % to %; from % it can go to: % %', OLD.fr_number, OLD.store,
                OLD.status, NEW.status, OLD.status, coalesce(nullif(translate(allowed::text, '[]"', ''), ''), 'nothing'),
                CASE WHEN is_product THEN '' ELSE '(by hand). A program that writes whole rows back must leave status out.' END
                    || CASE WHEN is_product OR OLD.status IN ('cancelled', 'invalid', 'rejected') THEN '' ELSE ' To stop the request, set cancel_requested_at.' END;
        END IF;
        SELECT t.fr_number INTO twin FROM fba.fulfillment_request AS t
        WHERE NEW.status = 'pending' AND OLD.status IN ('invalid', 'rejected') AND t.store = OLD.store AND t.fr_number <> OLD.fr_number
          AND (t.resend_of = coalesce(OLD.resend_of, OLD.fr_number) OR t.fr_number = OLD.resend_of)
          AND t.status NOT IN ('cancelled', 'rejected', 'invalid') LIMIT 1;
        IF twin IS NOT NULL THEN
            RAISE EXCEPTION 'Request % of % cannot become pending: it was sent again as %, and would be shipped twice.', OLD.fr_number, OLD.store, twin;
        END IF;
    END IF;

    IF fba.frozen(OLD.status) THEN
        -- Retention may empty an address and the comment, but not while it is still to be sent.
        SELECT string_agg(o.key, ', ' ORDER BY o.key) INTO changed
        FROM jsonb_each(to_jsonb(OLD)) AS o
        JOIN jsonb_each(to_jsonb(NEW)) AS n ON n.key = o.key AND n.value <> o.value
        WHERE o.key = ANY (content) OR o.key = ANY (personal) AND (n.value <> 'null' OR OLD.status = 'sending')
           OR o.key = 'order_comment' AND (n.value <> 'null' OR OLD.status = 'sending' OR NOT is_product);
        IF changed IS NOT NULL THEN
            RAISE EXCEPTION 'Request % of % is %: its content is frozen (%). To stop it, set cancel_requested_at.',
                OLD.fr_number, OLD.store, OLD.status, changed;
        END IF;
    END IF;

    IF NOT is_product THEN
        SELECT string_agg(o.key, ', ' ORDER BY o.key) INTO changed
        FROM jsonb_each(to_jsonb(OLD)) AS o
        JOIN jsonb_each(to_jsonb(NEW)) AS n ON n.key = o.key AND n.value <> o.value
        WHERE o.key = ANY (ours) OR o.key = ANY (ours_in_flight) AND fba.frozen(OLD.status)
           OR o.key = 'absent_since' AND o.value = 'null'
           OR o.key IN ('approved_fee', 'approval_asked_at') AND n.value <> 'null';
        IF changed IS NOT NULL THEN
            RAISE EXCEPTION 'Request % of %: only the product writes %. A program that writes whole rows back must leave it out.',
                OLD.fr_number, OLD.store, changed;
        END IF;
    END IF;

    IF NEW.status <> OLD.status THEN
        NEW.resolved_at := CASE WHEN NEW.status IN ('invalid', 'accepted', 'rejected', 'cancelled') THEN clock_timestamp() END;
        NEW.unknown_since := CASE WHEN NEW.status = 'unknown' THEN clock_timestamp() END;
        IF NEW.status <> 'unknown' THEN
            NEW.absent_since := NULL;
            NEW.stuck_since := NULL;
        END IF;
        IF NEW.status NOT IN ('pending', 'sending') THEN
            NEW.waiting_since := NULL;
        END IF;
        IF NEW.status <> 'pending' THEN
            NEW.waiting_reason := NULL;
        ELSE
            NEW.sent_at := NULL;
            NEW.claim_id := NULL;
            NEW.transport := NULL;
            NEW.speed := NULL;
            IF OLD.status IN ('invalid', 'rejected') THEN  -- put right by hand: it begins anew
                NEW.status_reason := NULL;
                NEW.attempts := 0;
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END $$;
