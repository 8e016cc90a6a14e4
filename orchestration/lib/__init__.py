"""What the definitions are made of; nothing here is an asset."""
