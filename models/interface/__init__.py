"""What engines are asked for and what they make; the protocol between them and whoever drives them."""
