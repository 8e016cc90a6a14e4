"""Reminding debtors, suspending them, letting them back: by a schedule that is data."""
