"""What two or more services need. It knows no word of the domain."""
