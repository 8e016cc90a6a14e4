"""What changes a quantity or an amount around the price model."""
