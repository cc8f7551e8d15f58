"""What destinations of notifications are, what each is sent, and the sending itself."""
