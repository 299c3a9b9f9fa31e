-- How many further files of an entry are taken, and what of an outlined entry decided that it is left
-- out.
ALTER TABLE entry_details ADD COLUMN further INTEGER NOT NULL DEFAULT 0;
ALTER TABLE left_out ADD COLUMN facts_mark INTEGER;
ALTER TABLE left_out ADD COLUMN further INTEGER NOT NULL DEFAULT 0;
