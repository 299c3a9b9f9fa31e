-- A short lease on renewing the credentials of a connection.
ALTER TABLE secrets ADD COLUMN renewer TEXT;
ALTER TABLE secrets ADD COLUMN renewing_until_ms INTEGER;
