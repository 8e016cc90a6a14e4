"""What tests share: servers, databases, a clock."""
