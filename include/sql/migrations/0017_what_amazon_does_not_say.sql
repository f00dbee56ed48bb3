-- A request of which Amazon does not say whether it has an order already must not hold up the others of its feed.
CREATE TABLE fba.unanswered_number (
    store text NOT NULL,
    fr_number text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp()
        CONSTRAINT asked_at_is_possible CHECK (asked_at BETWEEN '2000-01-01' AND '2100-01-01'),
    PRIMARY KEY (store, fr_number),
    FOREIGN KEY (store, fr_number) REFERENCES fba.fulfillment_request ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE fba.unanswered_number IS
    'Numbers of requests of which Amazon refused to say whether it has an order. They and their copies wait, and every run asks again.';
