-- The usage of one month: one row for every customer who used anything, with what they used and what it costs.
--
-- Keep two columns, whatever else you change:
--   recipient_id   who the statement is for. With the month it decides that nobody is mailed twice, so it must
--                  be unique in the result, and stay the same from month to month.
--   email          where it goes. NULL, empty or malformed is reported by recipient and not mailed: there is no
--                  need to filter here, and whoever is filtered here is missing without a trace.
-- Every other column is a variable of the same name in the templates:
--   customer_name, plan, currency (ISO 4217)
--   compute_hours, storage_gb_months, traffic_gb, request_thousands: quantities, each followed by its amount
--   subtotal: the sum of the amounts, total_amount: the subtotal less discount_amount
-- Amounts are decimals in units of the currency (12.50 is twelve euros fifty), rounded line by line, so
-- that the lines of a statement add up.
--
-- The month is half-open: usage at exactly period_start belongs to it, usage at exactly period_end to the next.
-- Both are instants, compared with used_at as they are, without a cast, so used_at must hold instants too:
--   PostgreSQL     timestamp with time zone
--   Amazon Athena  timestamp, in UTC
--   SQLite         text in UTC, always written like 2026-10-01T00:00:00+00:00. SQLite compares the text, so an
--                  instant with another offset, or with none, may fall on the wrong side of the month.
--
-- Customers without usage in the month get no row. To include them, with zeros, write LEFT JOIN metered below.
-- A metric without a price makes subtotal and total_amount NULL: no statement is better than one too low.
WITH metered AS (
    SELECT
        customer_id,
        metric,
        SUM(quantity) AS quantity
    FROM usage_daily
    WHERE used_at >= :period_start
      AND used_at < :period_end
    GROUP BY customer_id, metric
),
priced AS (
    SELECT
        customers.customer_id,
        metered.metric,
        metered.quantity,
        ROUND(metered.quantity * prices.unit_price, prices.decimal_places) AS amount
    FROM customers
    JOIN metered
        ON metered.customer_id = customers.customer_id
    LEFT JOIN prices
        ON prices.plan = customers.plan
        AND prices.currency = customers.currency
        AND prices.metric = metered.metric
),
summed AS (
    SELECT
        customer_id,
        ROUND(SUM(CASE WHEN metric = 'compute_hours' THEN quantity ELSE 0 END), 3) AS compute_hours,
        ROUND(SUM(CASE WHEN metric = 'compute_hours' THEN amount ELSE 0 END), 2) AS compute_amount,
        ROUND(SUM(CASE WHEN metric = 'storage_gb_months' THEN quantity ELSE 0 END), 3) AS storage_gb_months,
        ROUND(SUM(CASE WHEN metric = 'storage_gb_months' THEN amount ELSE 0 END), 2) AS storage_amount,
        ROUND(SUM(CASE WHEN metric = 'traffic_gb' THEN quantity ELSE 0 END), 3) AS traffic_gb,
        ROUND(SUM(CASE WHEN metric = 'traffic_gb' THEN amount ELSE 0 END), 2) AS traffic_amount,
        ROUND(SUM(CASE WHEN metric = 'request_thousands' THEN quantity ELSE 0 END), 3) AS request_thousands,
        ROUND(SUM(CASE WHEN metric = 'request_thousands' THEN amount ELSE 0 END), 2) AS requests_amount,
        CASE WHEN COUNT(amount) = COUNT(quantity) THEN ROUND(COALESCE(SUM(amount), 0), 2) END AS subtotal
    FROM priced
    GROUP BY customer_id
),
discounted AS (
    -- A discount never exceeds the month, so that no total is negative.
    SELECT
        summed.customer_id,
        CASE
            WHEN customers.monthly_discount < summed.subtotal THEN customers.monthly_discount
            ELSE summed.subtotal
        END AS discount_amount
    FROM summed
    JOIN customers
        ON customers.customer_id = summed.customer_id
)
SELECT
    customers.customer_id AS recipient_id,
    customers.email,
    customers.name AS customer_name,
    customers.plan,
    customers.currency,
    summed.compute_hours,
    summed.compute_amount,
    summed.storage_gb_months,
    summed.storage_amount,
    summed.traffic_gb,
    summed.traffic_amount,
    summed.request_thousands,
    summed.requests_amount,
    summed.subtotal,
    discounted.discount_amount,
    ROUND(summed.subtotal - discounted.discount_amount, 2) AS total_amount
FROM customers
JOIN summed
    ON summed.customer_id = customers.customer_id
JOIN discounted
    ON discounted.customer_id = customers.customer_id
ORDER BY recipient_id
