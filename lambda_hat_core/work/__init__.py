"""Worker processes: their requests, the pool that schedules them, and how processes end."""
