"""Routes for web shops and apps: catalog, availability, carts, orders, the shopper's own things."""
