"""Routes for the back office: keys, associates, the staff record, the retailer's own data."""
