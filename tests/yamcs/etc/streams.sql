CREATE STREAM clcw (clcw INT)
