"""Letters by e-mail: queued with what they tell of, sent afterwards."""
