"""What can be rented: countries, and the offers in them."""
