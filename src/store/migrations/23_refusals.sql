-- What the server of a connection said when it refused the credentials.
ALTER TABLE secrets ADD COLUMN refusal TEXT;
