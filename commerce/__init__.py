"""What is sold, to whom, for how much: catalog, carts, orders, payments, pickup, returns."""
