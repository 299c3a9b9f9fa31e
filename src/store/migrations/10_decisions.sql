-- Full runs that are continued as such, and sources that somebody refused.
ALTER TABLE syncs ADD COLUMN full_since INTEGER;
ALTER TABLE syncs ADD COLUMN refused_root TEXT;
