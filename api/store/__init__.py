"""Routes for the tablets in stores: sign-in, pickups, returns, baskets, the live feed."""
